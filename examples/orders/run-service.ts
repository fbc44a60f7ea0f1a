/** Runs a service of the example as a process, for its test. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const programs = {
  shop: ['shop/main.ts'],
  billing: ['billing/main.ts'],
  shipping: ['shipping/main.ts'],
  relay: ['../../src/cli/main.ts', 'relay', '--config', 'relay/mersal.config.ts', '--no-http'],
} as const

/** What each says when it is ready. */
const ready = {
  shop: /shop listens/,
  billing: /billing is ready/,
  shipping: /shipping is ready/,
  relay: /relay 'shop' runs/,
} as const

export interface Service {
  readonly name: string
  /** First group of the pattern in what it has printed. */
  said(pattern: RegExp): string
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>
  kill(): Promise<void>
}

/** Resolves when the service is ready; rejects if it ends before. */
export async function startService(
  name: keyof typeof programs,
  env: Readonly<Record<string, string>>,
): Promise<Service> {
  const child = spawn(process.execPath, ['--no-warnings', ...programs[name]], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  const state = { printed: '', complained: '' }
  const isReady = Promise.withResolvers<void>()
  // The relay says it in its log, which goes to standard error.
  const look = (): void => {
    if ([state.printed, state.complained].some((text) => ready[name].test(text))) isReady.resolve()
  }
  child.stdout.on('data', (text: Buffer) => {
    state.printed += text.toString()
    look()
  })
  child.stderr.on('data', (text: Buffer) => {
    state.complained += text.toString()
    look()
  })
  void ended.then(() =>
    isReady.reject(new Error(`${name} ended before it was ready: ${state.complained}`)),
  )
  await isReady.promise
  const signal = async (what: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(what)
    const [code] = (await ended) as [number | null]
    return code
  }
  return {
    name,
    said: (pattern) => pattern.exec(state.printed)?.[1] ?? '',
    stop: () => signal('SIGTERM'),
    kill: async () => void (await signal('SIGKILL')),
  }
}
