import { channel } from 'node:diagnostics_channel'
import { errorFields } from '../../core/errors/error-text.ts'
import type { Events, Logger } from '../../core/telemetry.ts'
import type { ServedRelay } from '../../outbox/many-stores/store-relay.ts'

export interface OnceOptions {
  /** Of all relays together. */
  readonly name: string
  readonly logger: Logger
  readonly withinMs: number
}

/** One run of relays that ends when nothing is left. */
export interface Once extends Disposable {
  /**
   * Waits until each relay has published what is due and deliverable. Returns whether nothing that
   * is due is left: something is if a store could not be opened, a destination does not answer, the
   * time was up, or the program was asked to stop.
   */
  drain(relays: readonly ServedRelay[], stop: Promise<string>): Promise<boolean>
}

/** Make it before the relays start, since it notes which destinations do not answer. */
export function runOnce({ name, logger, withinMs }: OnceOptions): Once {
  const silent = silentDestinations()
  return {
    async drain(relays, stop) {
      const results = await drainAll(relays, stop, withinMs)
      for (const [index, result] of results.entries()) {
        const app = relays[index]?.app ?? name
        if (result.status === 'rejected')
          logger.error({ app, ...errorFields(result.reason) }, 'the outbox was not drained')
      }
      const destinations = silent.names()
      if (destinations.length > 0)
        logger.error({ app: name, destinations }, 'messages wait for what does not answer')
      return destinations.length === 0 && results.every(({ status }) => status === 'fulfilled')
    },
    [Symbol.dispose]: () => silent[Symbol.dispose](),
  }
}

async function drainAll(
  relays: readonly ServedRelay[],
  stop: Promise<string>,
  withinMs: number,
): Promise<PromiseSettledResult<void>[]> {
  const waiting = new AbortController()
  void stop.then((reason) => waiting.abort(new Error(`asked to stop by ${reason}`)))
  const late = new Error(`not everything was published within ${withinMs} ms`)
  const timer = setTimeout(() => waiting.abort(late), withinMs)
  const drains = relays.map(async (relay) => relay.drain({ signal: waiting.signal }))
  const results = await Promise.allSettled(drains)
  clearTimeout(timer)
  return results
}

/** The first ten destinations whose breaker is not closed. */
function silentDestinations(): Disposable & { names(): string[] } {
  const open = new Set<string>()
  const breakers = channel('mersal:breaker')
  const note = (event: unknown): void => {
    const { destination, state } = event as Events['mersal:breaker']
    if (state === 'closed') open.delete(destination)
    else open.add(destination)
  }
  breakers.subscribe(note)
  return {
    names: () => [...open].slice(0, 10),
    [Symbol.dispose]() {
      breakers.unsubscribe(note)
    },
  }
}
