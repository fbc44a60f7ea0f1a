import type { Clock } from '../../../lib/async/clock.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { serverTime } from './log-statements.ts'

/** What time it is by the clock of the server, at the latest. */
export interface ServerTime {
  /** Asks the server. */
  read(): Promise<void>
  /** Asks again and again until the signal aborts; never rejects. */
  keep(signal: AbortSignal): Promise<void>
  /** Microseconds since 2000: at this moment the server shows that at most. */
  readonly now: () => bigint
}

const KEEP_MS = 5000

/**
 * From before the question was sent, the clock of the server has gone on for as long as ours. So
 * its answer and the time since then are never too early, however long the answer took.
 */
export function createServerTime({
  own,
  clock,
}: {
  readonly own: Own
  readonly clock: Clock
}): ServerTime {
  let asked = 0
  let answer = 0n
  const time: ServerTime = {
    async read() {
      const before = clock.monotonic()
      const { rows } = await own.run<{ now: string }>('asking for the time', serverTime, [], {
        often: true,
      })
      asked = before
      answer = BigInt((rows[0] as { now: string }).now)
    },
    async keep(signal) {
      while (!signal.aborted) {
        await clock.sleep(KEEP_MS, signal)
        // The old answer stays right, but for a clock that is set.
        if (!signal.aborted) await time.read().catch(() => {})
      }
    },
    now: () => answer + BigInt(Math.ceil((clock.monotonic() - asked) * 1000)),
  }
  return time
}
