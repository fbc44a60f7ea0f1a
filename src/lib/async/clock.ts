/**
 * Time as a port, so that everything that waits can be driven by a test.
 *
 * `now` is the wall clock and may jump; use it only to stamp what people read.
 * `monotonic` never runs backwards; use it for deadlines and durations.
 */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. */
  now(): number
  /** Monotonic clock, milliseconds since an arbitrary start, with fractions. */
  monotonic(): number
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** Uniformly distributed in [0, 1). */
export type Random = () => number

export const systemRandom: Random = Math.random

/** Node fires a timer at once when its delay is above this (a signed 32-bit number). */
const LONGEST_TIMER_MS = 2 ** 31 - 1

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS))
    signal?.addEventListener('abort', done, { once: true })
  })
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep,
}
