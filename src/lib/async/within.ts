import type { Clock } from './clock.ts'

/** Whether the promise was fulfilled within `ms`. Rejects if it is rejected before. */
export async function fulfilledWithin(
  clock: Clock,
  ms: number,
  promise: Promise<unknown>,
): Promise<boolean> {
  const done = new AbortController()
  const late = clock.sleep(ms, done.signal).then(() => false)
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    done.abort('done')
  }
}
