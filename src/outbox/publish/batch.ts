import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import type { Transport } from '../../core/transport.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import type { Breakers } from '../limits/breaker.ts'
import type { Collector } from './collector.ts'
import type { RelaySettings } from '../options.ts'
import type { Pauses } from '../limits/pauses.ts'
import type { Renewals } from '../settle/renewals.ts'
import type { Run } from './runs.ts'
import type { Settler } from '../settle/settler.ts'
import type { Unknowns } from '../settle/unanswered.ts'

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
  readonly hands: Collector
  /** Runs that wait to be published again. */
  readonly later: Run[]
  pausing: boolean
}

/** What the publisher works with. */
export interface PublisherPorts {
  readonly app: string
  readonly transports: ReadonlyMap<string, Transport>
  readonly breakers: Breakers
  readonly pauses: Pick<Pauses, 'some' | 'covers'>
  readonly settler: Settler
  readonly unknowns: Unknowns
  readonly renewals: Renewals
  readonly settings: RelaySettings
  readonly clock: Clock
  readonly random: Random
  /** How often the deadlines of batches are looked at while there are any. */
  readonly tickMs: number
  readonly onDead: (row: ClaimedMessage, settlement: Extract<Settlement, { kind: 'dead' }>) => void
  readonly onRefused: (
    row: ClaimedMessage,
    settlement: Extract<Settlement, { kind: 'retry' }>,
  ) => void
}
