import type { Collector } from './collector.ts'
import type { Run } from './runs.ts'

/**
 * Until when something may be done with the rows of a batch; monotonic milliseconds. A renewal
 * moves them.
 */
export interface Terms {
  startedAt: number
  /** Nothing is handed to a transport at or after this time. */
  publishUntil: number
  /** The claim, or the grace of the express lane, ends. */
  keepUntil: number
  readonly express: boolean
}

/** This share of a claim is kept free at its end for settling and for clocks that do not agree. */
const MARGIN = 0.2

/** Those of a claim that was asked for, or renewed, at this moment. */
export function termsFrom(
  startedAt: number,
  claimMs: number,
): Pick<Terms, 'startedAt' | 'publishUntil' | 'keepUntil'> {
  return {
    startedAt,
    publishUntil: startedAt + claimMs * (1 - MARGIN),
    keepUntil: startedAt + claimMs,
  }
}

/** Rows of one claim, or of one unit in the express lane. */
export interface Batch {
  readonly terms: Terms
  /** Those that have not ended. */
  readonly runs: Set<Run>
  /** A message without an answer is published again before this time only, whatever is renewed. */
  readonly againUntil: number
  /** Takes back what the transports have not written. */
  readonly withdrawal: AbortController
  /** Aborts the waiting of the transports. */
  readonly controller: AbortController
  readonly collector: Collector
  /** Runs that wait to be published again. */
  readonly later: Run[]
  pausing: boolean
}

/** What is left for a publisher to do. It only ever does less. */
export interface Ending {
  /** Nothing more is handed over. */
  closed: boolean
  /** Answers count for nothing any more. */
  halted: boolean
}
