import { systemClock } from '../lib/async/clock.ts'
import type { Metric } from './exposition.ts'

/** What is asked is counted at most this often, and at most a tenth of the time. */
const SHORTEST_MS = 5000
const REST_FACTOR = 10
/** Whoever collects metrics does not wait for ever. */
const LONGEST_WAIT_MS = 3000

/**
 * Remembers the last answer, so that frequent questions cost the database and the broker nothing.
 */
export function nowAndThen(
  count: () => Promise<readonly Metric[]>,
): () => Promise<readonly Metric[]> {
  let known: readonly Metric[] = []
  let notBefore = 0
  let counting: Promise<void> | undefined

  async function look(): Promise<void> {
    const begun = systemClock.monotonic()
    known = await count()
    const took = systemClock.monotonic() - begun
    notBefore = systemClock.monotonic() + Math.max(SHORTEST_MS, took * REST_FACTOR)
  }

  return async () => {
    if (systemClock.monotonic() < notBefore) return known
    counting ??= look().finally(() => {
      counting = undefined
    })
    const counted = counting.then(
      () => true,
      () => false,
    )
    // Without an answer the figures of the relay itself are still worth telling; old ones are not.
    if (!(await Promise.race([counted, systemClock.sleep(LONGEST_WAIT_MS).then(() => false)])))
      known = []
    return known
  }
}
