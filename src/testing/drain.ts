import { type Mersal, assemblyOf } from '../app/mersal.ts'
import { misuse } from '../app/misuse.ts'
import { command } from '../app/send/messages.ts'

type DrainableApp = Pick<Mersal<never>, 'drain' | 'direct'>

/** Goes through the input queue of an app, behind what was there before. */
const Probe = command<{ readonly number: number }>('mersal.testing.probe')
const waiting = new Map<number, () => void>()
let probes = 0

/**
 * Resolves when the apps have come to rest, all of them at the same time: their outboxes hold
 * nothing that is due, their input queues have been read to the end, no handler is at work. What
 * waits for a delay or for its next try is not waited for. Rejects with the reason of the signal.
 *
 * The apps run in this process, each the only reader of its queue, and the queue keeps the order of
 * arrival: its end is found by sending a command through it, which steps of the user see too.
 */
export async function drain(
  apps: DrainableApp | readonly DrainableApp[],
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const all: readonly DrainableApp[] = 'drain' in apps ? [apps] : apps
  for (const app of all) checkRunning(app)
  for (;;) {
    const before = handled(all)
    let probed = 0
    for (const app of all) {
      await app.drain(options)
      if (await readToEnd(app, options.signal)) probed++
      await assemblyOf(app as Mersal<never>).receiver.idle()
    }
    if (handled(all) === before + probed) return
  }
}

/** Nobody would ever read the queue of one that was not started. */
function checkRunning(app: DrainableApp): void {
  const { lifecycle, settings } = assemblyOf(app as Mersal<never>)
  if (lifecycle.state === 'idle')
    throw misuse('drain()', `start() the app '${settings.name}' first`)
}

function handled(apps: readonly DrainableApp[]): number {
  return apps.reduce((total, app) => total + assemblyOf(app as Mersal<never>).receiver.handled, 0)
}

/** False for an app that only sends. */
async function readToEnd(app: DrainableApp, signal: AbortSignal | undefined): Promise<boolean> {
  const { handlers, settings } = assemblyOf(app as Mersal<unknown>)
  if (settings.sendOnly) return false
  if (handlers.get(Probe.name) === undefined)
    handlers.add(Probe, ({ number }: { readonly number: number }) => waiting.get(number)?.(), {})
  signal?.throwIfAborted()
  const number = ++probes
  const arrived = Promise.withResolvers<void>()
  const cancel = (): void => arrived.reject(signal?.reason)
  signal?.addEventListener('abort', cancel, { once: true })
  waiting.set(number, arrived.resolve)
  try {
    await app.direct.sendLocal(Probe, { number })
    await arrived.promise
    return true
  } finally {
    waiting.delete(number)
    signal?.removeEventListener('abort', cancel)
  }
}
