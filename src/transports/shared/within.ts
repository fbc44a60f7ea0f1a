import { MersalError } from '../../core/errors/errors.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** The result of the promise, or a rejection with `MERSAL_UNAVAILABLE` after `ms`. */
export async function within<Result>(
  clock: Pick<Clock, 'sleep'>,
  ms: number,
  who: string,
  promise: Promise<Result>,
): Promise<Result> {
  const done = new AbortController()
  const late = clock.sleep(ms, done.signal).then(() => {
    throw new MersalError('MERSAL_UNAVAILABLE', `${who} did not answer within ${ms} ms`)
  })
  // The slower of the two may fail when nobody awaits it any more.
  late.catch(() => {})
  promise.catch(() => {})
  try {
    return await Promise.race([promise, late])
  } finally {
    done.abort()
  }
}
