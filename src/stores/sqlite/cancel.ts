import type { Cancellation } from '../../core/outbox.ts'
import { newMark } from '../../sql/lanes.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle, SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import {
  leaveMark,
  openTransaction,
  requireMark,
  transactionNow,
} from '../../sql/sqlite/unit/transaction.ts'
import { outboxSql } from './statements/statements.ts'

/**
 * Takes a delayed message back, in the transaction that is open in this very tick. The transaction
 * has the file for itself, so no relay claims the row meanwhile.
 */
export async function cancel(
  connection: Connection,
  tx: SqliteDatabase,
  id: string,
): Promise<Cancellation> {
  if (connection.handle !== undefined)
    return cancelNow(connection, transactionNow(connection, tx), id)
  const mark = leaveMark(tx, newMark(), undefined)
  const handle = await openTransaction(connection, tx)
  requireMark(handle, mark)
  return cancelNow(connection, handle, id)
}

function cancelNow(connection: Connection, handle: Handle, id: string): Cancellation {
  try {
    const removed = handle.run(outboxSql.cancel, { id }).changes > 0
    // Later messages of its key may go.
    if (removed) connection.announceAfterCommit(handle, 'outbox')
    // Of two rows with one id a relay may have taken one.
    if (handle.get(outboxSql.delayed, { id }) !== undefined) return 'gone'
    return removed ? 'cancelled' : 'unknown'
  } catch (error) {
    throw storeError('cancelling a message', error)
  }
}
