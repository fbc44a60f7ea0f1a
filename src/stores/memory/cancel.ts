import type { Cancellation } from '../../core/outbox.ts'
import type { DatabaseState } from './database.ts'
import { assertOpen, lock, openTransaction } from './unit/transaction.ts'

/**
 * Takes a delayed message back inside the transaction: one that this transaction has saved, or a row
 * that no relay has taken. The lock makes two that cancel the same message wait for each other.
 */
export async function cancel(
  database: DatabaseState,
  tx: unknown,
  id: string,
): Promise<Cancellation> {
  const state = openTransaction(database, tx)
  await database.pause('cancel')
  assertOpen(state)
  await lock(state, `message ${id}`)
  assertOpen(state)
  const own = state.rows.findIndex((row) => row.message.id === id && row.dueAt !== undefined)
  if (own >= 0) {
    state.rows.splice(own, 1)
    return 'cancelled'
  }
  const rows = database.outbox.delayedOf(id).filter((row) => !state.leaving.has(row))
  const free = rows.filter((row) => !row.taken)
  for (const row of free) {
    row.leaving = true
    state.leaving.add(row)
  }
  if (free.length > 0) return 'cancelled'
  return rows.length > 0 ? 'gone' : 'unknown'
}
