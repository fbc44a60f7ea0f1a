import { isMersalError } from '../../../core/errors/errors.ts'
import { type StoreFault, storeFaultOf } from '../../../core/errors/store-faults.ts'
import { type Backoff, backoffMs } from '../../../lib/async/backoff.ts'
import type { Random } from '../../../lib/async/clock.ts'
import type { StoreGate } from './store-gate.ts'

/**
 * How far a try has come: before the transaction, opening it, writing the inbox row, in the
 * handler, writing messages and committing, after the commit.
 */
export type Stage = 'before' | 'opening' | 'recording' | 'handling' | 'committing' | 'done'

/**
 * What becomes of a try that failed. `charge`: it counts as a failure of its message. `again`: it
 * is repeated, and does not count. `release`: the message goes back to the queue, and it does not
 * count.
 */
export type Verdict = 'charge' | 'again' | 'release'

export interface Failure {
  readonly error: unknown
  readonly stage: Stage
  readonly signal: AbortSignal
}

/**
 * How long a delivery stays in hand while the store is away, in milliseconds. RabbitMQ takes a
 * delivery back after 30 minutes.
 */
export const LONGEST_HOLD_MS = 600_000
/** Waiting time between tries that failed although the store works. */
const REST: Backoff = { firstMs: 200, longestMs: 10_000 }

/** Excuses the failures of one delivery for which our own store is to blame. */
export interface Excuses {
  judge(failure: Failure): Promise<Verdict>
}

/** `holdMs`: how long a delivery stays in hand while the store is away. */
export function excuses(
  gate: StoreGate,
  random: Random,
  holdMs: number = LONGEST_HOLD_MS,
): Excuses {
  let passes = 0
  return {
    async judge({ error, stage, signal }) {
      const fault = suspicion(error, stage)
      if (fault === undefined) return 'charge'
      if (!(await gate.works())) return (await gate.passes(signal, holdMs)) ? 'again' : 'release'
      // The store works now. It may have been away for a moment. Or the message, or another
      // database, is to blame.
      if (passes >= mostPasses(fault, stage)) return 'charge'
      passes++
      gate.complain(error)
      return (await gate.rest(backoffMs(REST, passes, random), signal)) ? 'again' : 'release'
    },
  }
}

/** Why the store may be to blame, so that it has to be asked. Undefined if it is not to blame. */
function suspicion(error: unknown, stage: Stage): StoreFault | 'strange' | undefined {
  // A part of the work may have been committed.
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

/** How often a delivery is tried again, uncharged, although the store answers. */
function mostPasses(fault: StoreFault | 'strange', stage: Stage): number {
  // The transaction was not open yet, so the message cannot be to blame. The pool may have no free
  // connection, for example.
  if (stage === 'opening') return fault === 'strange' ? 5 : Number.POSITIVE_INFINITY
  // A full disk takes the small write of a probe for a long time.
  if (fault === 'full') return 20
  return fault === 'strange' || stage === 'handling' ? 0 : 5
}
