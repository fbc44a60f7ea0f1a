import { MersalError } from '../../core/errors.ts'
import type { Connection } from './connection.ts'
import { type Handle, handleOf, isSqliteDatabase } from './database.ts'

/**
 * The face of a handle that is an open transaction on the database of this connection; whoever began
 * it. Throws `MERSAL_NOT_A_TRANSACTION` otherwise.
 */
export async function openTransaction(connection: Connection, tx: unknown): Promise<Handle> {
  // A unit that runs or waits while the store is being closed may still end well.
  if (connection.handle === undefined) await connection.open()
  const refuse = (text: string): MersalError => new MersalError('MERSAL_NOT_A_TRANSACTION', text)
  if (!isSqliteDatabase(tx))
    throw refuse('expected the handle of an SQLite database (node:sqlite or better-sqlite3) with an open transaction')
  const handle = handleOf(tx)
  if (!handle.inTransaction) throw refuse('the handle has no open transaction: begin one first, or it has already ended')
  if (!connection.owns(handle)) throw refuse('the handle belongs to another database file than the store')
  return handle
}
