import { isMersalError } from '../../../core/errors/errors.ts'
import { type StoreFault, storeFaultOf } from '../../../core/errors/store-faults.ts'
import { type Backoff, backoffMs } from '../../../lib/async/backoff.ts'
import type { Random } from '../../../lib/async/clock.ts'
import type { StoreGate } from './store-gate.ts'

/**
 * How far a try has come: before the transaction, in its opening, at the inbox row, in the handler,
 * at its messages and the commit, after it.
 */
export type Stage = 'before' | 'opening' | 'recording' | 'handling' | 'committing' | 'done'

/**
 * What becomes of a try that failed: it is judged as a failure of its message, or repeated, or the
 * message goes back, both uncharged.
 */
export type Verdict = 'charge' | 'again' | 'release'

export interface Failure {
  readonly error: unknown
  readonly stage: Stage
  readonly signal: AbortSignal
}

/**
 * So long a delivery stays in hand while the store is away: below the time in which RabbitMQ wants
 * it back (30 minutes).
 */
export const LONGEST_HOLD_MS = 600_000
/** Between tries that failed although the store works. */
const REST: Backoff = { firstMs: 200, longestMs: 10_000 }

/** Excuses the failures of one delivery for which our own store is to blame. */
export interface Excuses {
  judge(failure: Failure): Promise<Verdict>
}

export function excuses(gate: StoreGate, random: Random): Excuses {
  let passes = 0
  return {
    async judge({ error, stage, signal }) {
      const fault = suspicion(error, stage)
      if (fault === undefined) return 'charge'
      if (!(await gate.works()))
        return (await gate.passes(signal, LONGEST_HOLD_MS)) ? 'again' : 'release'
      // It works now. It may have been away for a moment; or the message, or another database, is
      // to blame.
      if (passes >= mostPasses(fault, stage)) return 'charge'
      passes++
      gate.complain(error)
      return (await gate.rest(backoffMs(REST, passes, random), signal)) ? 'again' : 'release'
    },
  }
}

/** Why the store may be to blame; undefined if it is not. The store itself is asked then. */
function suspicion(error: unknown, stage: Stage): StoreFault | 'strange' | undefined {
  // Half of it may have happened, whatever came of that.
  if (isMersalError(error, 'MERSAL_TRANSACTION_ENDED')) return undefined
  switch (stage) {
    case 'before':
    case 'done':
      return undefined
    case 'opening':
    case 'recording':
      return (
        storeFaultOf(error) ??
        (isMersalError(error) && !isMersalError(error, 'MERSAL_HANDLER_TIMEOUT')
          ? undefined
          : 'strange')
      )
    case 'handling':
    case 'committing':
      // A handler hangs when the database does.
      return (
        storeFaultOf(error) ??
        (isMersalError(error, 'MERSAL_HANDLER_TIMEOUT') ? 'strange' : undefined)
      )
    default:
      return stage satisfies never
  }
}

/** How often a delivery is tried again for nothing although the store answers. */
function mostPasses(fault: StoreFault | 'strange', stage: Stage): number {
  // No message has been looked at yet, so it cannot be to blame: the pool has no connection to
  // give, for example.
  if (stage === 'opening') return fault === 'strange' ? 5 : Number.POSITIVE_INFINITY
  // A full disk takes the small write of a probe for a long time.
  if (fault === 'full') return 20
  return fault === 'strange' || stage === 'handling' ? 0 : 5
}
