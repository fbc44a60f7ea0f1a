import { MersalError } from '../../../core/errors/errors.ts'
import type { Connection } from '../connection/connection.ts'
import { type Handle, handleOf, isSqliteDatabase } from '../connection/database.ts'

const refused = (text: string): MersalError => new MersalError('MERSAL_NOT_A_TRANSACTION', text)

/**
 * The face of a handle that is an open transaction on the database of this connection; whoever
 * began it. Throws `MERSAL_NOT_A_TRANSACTION` otherwise.
 */
export async function openTransaction(connection: Connection, tx: unknown): Promise<Handle> {
  // A unit that runs or waits while the store is being closed may still end well.
  if (connection.handle === undefined) await connection.open()
  return transactionNow(connection, tx)
}

/** The same in this very tick, on a connection that is open. */
export function transactionNow(connection: Connection, tx: unknown): Handle {
  const handle = checkTransaction(tx)
  if (!connection.owns(handle))
    throw refused('the handle belongs to another database file than the store')
  return handle
}

/** The face of a handle that has an open transaction; on whatever database. */
export function checkTransaction(tx: unknown): Handle {
  if (!isSqliteDatabase(tx)) {
    throw refused(
      'expected the handle of an SQLite database (node:sqlite or better-sqlite3) with an open transaction',
    )
  }
  const handle = handleOf(tx)
  // What a unit has lent says no once the unit has ended, even if the handle behind it works for
  // the next one.
  const open = handle.inTransaction && (tx.isTransaction ?? tx.inTransaction) === true
  if (!open)
    throw refused('the handle has no open transaction: begin one first, or it has already ended')
  return handle
}

/**
 * Marks that a temporary table keeps: more than one only if several stores use the handle at a
 * time.
 */
const MARKS = 20

/**
 * Leaves a mark in the transaction that is open now, unless that has the one before. Returns which
 * of them it has. A rollback takes it along, to a savepoint too.
 */
export function leaveMark(tx: unknown, mark: string, before: string | undefined): string {
  const handle = checkTransaction(tx)
  if (before !== undefined && hasMark(handle, before)) return before
  handle.exec(
    'create temp table if not exists mersal_within (number integer primary key autoincrement, mark text not null)',
  )
  const { position } = handle.run('insert into temp.mersal_within (mark) values (:mark)', { mark })
  handle.run('delete from temp.mersal_within where number <= :oldest', {
    oldest: position - BigInt(MARKS),
  })
  return mark
}

/** Throws unless the mark is there. */
export function requireMark(handle: Handle, mark: string): void {
  if (hasMark(handle, mark)) return
  throw refused(
    'the transaction that was open when the message was sent was rolled back, or its savepoint was, so the message was not stored: await every call before the transaction ends',
  )
}

const hasMark = (handle: Handle, mark: string): boolean =>
  hasTable(handle) &&
  handle.get('select 1 as found from temp.mersal_within where mark = :mark', { mark }) !== undefined

/** The first mark makes it, and a rollback takes it along. */
const hasTable = (handle: Handle): boolean =>
  handle.get(`select 1 as found from temp.sqlite_master where name = 'mersal_within'`) !== undefined
