import type { Cancellation } from '../../core/outbox.ts'
import type { DatabaseState } from './database.ts'
import { assertOpen, lock, openTransaction } from './unit/transaction.ts'

/**
 * Takes a delayed message back inside the transaction: one that this transaction has saved, or a
 * row that no relay has taken. The lock makes two that cancel the same message wait for each other.
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
  const isOwn = (row: (typeof state.rows)[number]): boolean =>
    row.message.id === id && row.dueAt !== undefined
  const kept = state.rows.filter((row) => !isOwn(row))
  const removed = state.rows.splice(0, Number.POSITIVE_INFINITY, ...kept).length - kept.length
  const rows = database.outbox.delayedOf(id).filter((row) => !state.leaving.has(row))
  const free = rows.filter((row) => !row.taken)
  for (const row of free) {
    row.leaving = true
    state.leaving.add(row)
  }
  // Of two rows with one id a relay may have taken one.
  if (free.length < rows.length) return 'gone'
  return removed + free.length > 0 ? 'cancelled' : 'unknown'
}
