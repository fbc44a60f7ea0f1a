import { DatabaseSync } from 'node:sqlite'
import { MersalError } from '../../../core/errors/errors.ts'
import { type Handle, handleOf, isSqliteDatabase } from './database.ts'
import type { ConnectionSettings } from '../options.ts'
import { makePrivate } from './private-file.ts'
import { rollBack } from './waiting.ts'

type Source = ConnectionSettings['source']

/** What functions of the user have opened: each connection has one owner, who closes it. */
const opened = new WeakSet<object>()

/** A connection of our own, or the handle that is shared with us. */
export function connect(name: string, source: Source): Handle {
  if ('database' in source) return handleOf(source.database)
  if ('open' in source) return opener(name, source.open)
  makePrivate(source.path)
  const handle = handleOf(new DatabaseSync(source.path, { timeout: 0 }))
  handle.neverWaits = true
  return handle
}

function opener(name: string, open: () => unknown): Handle {
  const database = open()
  const refuse = (text: string): MersalError =>
    new MersalError('MERSAL_INVALID_OPTIONS', `${name}: 'open' ${text}`, {
      details: { field: 'open' },
    })
  if (!isSqliteDatabase(database))
    throw refuse('must return a DatabaseSync of node:sqlite or a Database of better-sqlite3 >= 13')
  const handle = handleOf(database)
  if (opened.has(database) || !handle.isOpen || handle.inTransaction) {
    throw refuse(
      "must make a new connection at each call, one that nobody else uses; a handle that you share is given as 'database'",
    )
  }
  opened.add(database)
  // Waiting by SQLite itself would block the thread, and with it whoever is waited for.
  handle.exec('PRAGMA busy_timeout = 0')
  handle.neverWaits = true
  return handle
}

/** Closes the handle unless it belongs to somebody else. */
export function closeOwn(source: Source, handle: Handle): void {
  if (!('database' in source)) handle.native.close()
}

/**
 * Closes a handle that a function still uses, which rolls back. Some libraries refuse that in the
 * midst of an iteration: then it is closed once the function has ended.
 */
export function closeUnderHands(handle: Handle, ended: Promise<void> | undefined): void {
  try {
    handle.native.close()
  } catch {
    void ended?.then(() => {
      rollBack(handle)
      handle.native.close()
    })
  }
}

/** What a handle that is shared with the rest of the program does, for whoever starts the app. */
export function sharedHandleWarnings(
  { source }: Pick<ConnectionSettings, 'source'>,
  part: 'store' | 'queue',
): readonly string[] {
  if (!('database' in source)) return []
  const make = part === 'store' ? 'sqlite' : 'sqliteQueue'
  return [
    `the database handle is shared: whatever else uses it while a transaction of the app is open becomes part of that transaction, ` +
      `reads what is not committed, and loses what it wrote when it is rolled back. Give the ${part} a connection of its own: ` +
      `${make}({ path }), or ${make}({ open: () => new Database(path) }) for better-sqlite3`,
  ]
}
