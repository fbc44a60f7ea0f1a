import type { Clock } from '../../lib/async/clock.ts'

/**
 * Rings at once, and then at most once in `quietMs` for however many calls there were. Never
 * throws, never waits.
 */
export interface Notifier extends AsyncDisposable {
  notify(): void
}

/** `send` may fail: the notification is a hint, and the relays poll besides. */
export function notifier(send: () => Promise<unknown>, clock: Clock, quietMs = 2): Notifier {
  const stopping = new AbortController()
  let wanted = false
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    while (wanted && !stopping.signal.aborted) {
      wanted = false
      await send().catch(() => {})
      await clock.sleep(quietMs, stopping.signal)
    }
    running = undefined
  }

  return {
    notify() {
      wanted = true
      running ??= run()
    },
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await running
    },
  }
}
