import { isMersalError } from '../../core/errors/errors.ts'
import { driverFaultOf } from '../../core/errors/store-faults.ts'
import { SET_ASIDE_MS, type Settlement } from '../../core/outbox.ts'

/**
 * Whether the storage itself has refused this, and would again: a constraint, a missing right, a
 * trigger. Anything else may be an outage.
 */
export function isRefusal(error: unknown): boolean {
  return isMersalError(error) && error.details['refused'] === true
}

/**
 * Whether waiting is the cure, however long: the database is away, takes no writes, or holds a
 * lock. Nothing else that is recorded would fare better meanwhile, and whatever did so at the
 * moment when the database comes back would be worse than the settlement itself.
 */
export function isOutage(error: unknown): boolean {
  return driverFaultOf(error) === 'away' || isMersalError(error, 'MERSAL_STORE_BUSY')
}

/**
 * What is recorded in place of a settlement that cannot be, the best first. A confirmed message is
 * removed without being kept. A row that cannot be removed, or cannot become a dead letter, is set
 * aside unharmed.
 */
export function insteadOf(settlement: Settlement, thrown: unknown): readonly Settlement[] {
  const { kind, position, token } = settlement
  const error =
    thrown instanceof Error
      ? thrown
      : new Error('the outbox storage refused the settlement', { cause: thrown })
  const aside: Settlement = { kind: 'release', position, token, delayMs: SET_ASIDE_MS, error }
  switch (kind) {
    case 'sent':
      return [{ kind, position, token, keep: false }, aside]
    case 'dead':
      return [aside]
    case 'retry':
    case 'release':
      return []
    default:
      return kind satisfies never
  }
}
