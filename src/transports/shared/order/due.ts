import type { Clock } from '../../../lib/async/clock.ts'

/** When a message that holds its key is to be tried again, as written down for other processes. */
export interface Due {
  /** Milliseconds since the Unix epoch, by the clock of who wrote it. */
  readonly at: number
  /** So long it was to wait, in milliseconds. Infinity: nobody has written it. */
  readonly delayMs: number
}

/**
 * The same by our monotonic clock: never later than the whole wait from now on. Else a process whose
 * clock was a day ahead would hold a key for a day.
 */
export function dueHere({ at, delayMs }: Due, clock: Pick<Clock, 'now' | 'monotonic'>): number {
  const waitMs = Math.min(Math.max(0, at - clock.now()), Math.max(0, delayMs))
  return waitMs === 0 ? 0 : clock.monotonic() + waitMs
}
