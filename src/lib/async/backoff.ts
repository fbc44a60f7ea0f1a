import type { Random } from './clock.ts'

/** Growing waiting times. Times are in milliseconds. */
export interface Backoff {
  /** Delay after the first failure, in milliseconds. At most a day. */
  readonly firstMs: number
  /** No delay is longer than this, in milliseconds. From `firstMs` to a day. */
  readonly longestMs: number
  /** Each delay is this many times the one before. From 1 to 100. Default 2. */
  readonly factor?: number
}

/**
 * Exponential backoff with equal jitter: between half of the step and the whole of it, so that
 * retries neither synchronise nor come too early. `failures` counts from 1.
 */
export function backoffMs(backoff: Backoff, failures: number, random: Random): number {
  const factor = backoff.factor ?? 2
  const exponent = Math.min(Math.max(failures, 1) - 1, 1000)
  const step = Math.min(backoff.firstMs * factor ** exponent, backoff.longestMs)
  return Math.round(step / 2 + (step / 2) * random())
}
