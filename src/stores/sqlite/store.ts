import type { DatabaseSync } from 'node:sqlite'
import type { Store } from '../../core/store.ts'
import { checkKeepSentMs } from '../../sql/shared/options.ts'
import { sqliteAdmin } from './admin.ts'
import { Connection } from '../../sql/sqlite/connection/connection.ts'
import { sharedHandleWarnings } from '../../sql/sqlite/connection/connect.ts'
import { handleOf, type SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { carryUnits } from '../../sql/sqlite/connection/file-lock.ts'
import { sqliteOperations } from './operations.ts'
import {
  connectionSettings,
  type SqliteConnectionOptions,
  type SqliteHandle,
  type SqliteOpener,
  type SqlitePath,
} from '../../sql/sqlite/options.ts'
import { sqliteOnce } from './once.ts'
import { sqliteOutbox } from './outbox.ts'
import { sqliteSagas } from './sagas.ts'
import { sqliteSavepoints } from '../../sql/sqlite/unit/savepoints.ts'
import { storeTables } from './schema.ts'
import { sqliteTracker } from './tracker.ts'
import { unitHandleOf } from '../../sql/sqlite/unit/unit-handle.ts'
import { watch } from '../../sql/sqlite/connection/watch.ts'

/** Options of `sqlite()`, besides `path`, `open` or `database`. */
export interface SqliteStoreOptions extends SqliteConnectionOptions {
  /**
   * Confirmed messages are kept this long in `mersal_sent`, in milliseconds. From 0 to ten years.
   * Default 0: deleted at once.
   */
  readonly keepSentMs?: number
}

/**
 * A store on one SQLite database file. `tx` in a unit of work is the connection of the store: with
 * `path` or `open` one of its own, on which nothing but units and the relay of the app works.
 *
 * SQLite has one writer, so a unit of work has the file for itself from its beginning to its
 * commit: keep units short, and wait for nothing slow inside. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function sqlite(options: SqliteStoreOptions & SqlitePath): Store<DatabaseSync>
export function sqlite<Database extends SqliteDatabase>(
  options: SqliteStoreOptions & (SqliteOpener<Database> | SqliteHandle<Database>),
): Store<Database>
export function sqlite(
  options: SqliteStoreOptions &
    (SqlitePath | SqliteOpener<SqliteDatabase> | SqliteHandle<SqliteDatabase>),
): Store<never> {
  const connection = new Connection(
    'sqlite',
    connectionSettings('sqlite', options, ['keepSentMs']),
    storeTables,
  )
  const keepSentMs = checkKeepSentMs('sqlite', options.keepSentMs)
  const store: Store<SqliteDatabase> = {
    name: 'sqlite',
    warnings: sharedHandleWarnings(connection.settings, 'store'),
    unitOfWork: (work, options) => connection.unit(work, options),
    sharing: {
      state: (tx) =>
        handleOf(tx).inTransaction && unitHandleOf(tx)?.ended !== true ? 'open' : 'over',
      carry: carryUnits,
    },
    savepoints: sqliteSavepoints,
    outbox: sqliteOutbox(connection, keepSentMs),
    tracker: sqliteTracker(connection),
    sagas: sqliteSagas(connection),
    once: sqliteOnce(connection),
    admin: sqliteAdmin(connection),
    operations: sqliteOperations(connection),
    wakers: [(wake, { signal }) => watch(connection, 'outbox', wake, signal)],
    open: async () => {
      await connection.open()
    },
    [Symbol.asyncDispose]: () => connection.close(),
  }
  return store as unknown as Store<never>
}
