import type { Clock } from '../../lib/async/clock.ts'

/**
 * Rings for however many calls there were. Never throws, never waits. Calls that come one by one
 * ring at once; of many calls each ring stands for those of ten milliseconds.
 */
export interface Notifier extends AsyncDisposable {
  notify(): void
  /**
   * A call that would ring at once: true, and the caller rings in place of this. False: it is no
   * call, and `notify` will be needed.
   */
  along(): boolean
}

/**
 * $1 channel, $2 payload. Whoever listens hears of it after the commit, which need not wait for the
 * disk: the statement leaves nothing behind.
 */
export const NOTIFY =
  "select pg_catalog.set_config('synchronous_commit', 'off', true), pg_catalog.pg_notify($1::text, $2::text)"

const WINDOW_MS = 10
/** With more calls than this in a window there is one ring in each. */
const MOST_CALLS = 15

/** `send` may fail: the notification is a hint, and the relays poll besides. */
export function notifier(send: () => Promise<unknown>, clock: Clock): Notifier {
  const stopping = new AbortController()
  const pace = createPace()
  let wanted = false
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    while (wanted && !stopping.signal.aborted) {
      const restMs = pace.restMs(clock.monotonic())
      if (restMs > 0) {
        await clock.sleep(restMs, stopping.signal)
        continue
      }
      wanted = false
      pace.rang(clock.monotonic())
      await send().catch(() => {})
    }
    running = undefined
  }

  return {
    notify() {
      pace.called(clock.monotonic())
      wanted = true
      running ??= run()
    },
    along() {
      const now = clock.monotonic()
      if (running !== undefined || stopping.signal.aborted || pace.restMs(now) > 0) return false
      pace.called(now)
      pace.rang(now)
      return true
    },
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await running
    },
  }
}

/** How many calls there are, and how many rings that allows. */
interface Pace {
  called(now: number): void
  rang(now: number): void
  /** Milliseconds until the next ring. */
  restMs(now: number): number
}

function createPace(): Pace {
  let [windowAt, calls] = [-Infinity, 0]
  let [busy, rung] = [false, false]
  function goOn(now: number): void {
    if (now - windowAt < WINDOW_MS) return
    busy = calls > MOST_CALLS && now - windowAt < 2 * WINDOW_MS
    ;[windowAt, calls, rung] = [now, 0, false]
  }
  return {
    called(now) {
      goOn(now)
      calls++
      busy ||= calls > MOST_CALLS
    },
    rang(now) {
      goOn(now)
      rung = true
    },
    restMs: (now) => (busy && rung ? windowAt + WINDOW_MS - now : 0),
  }
}
