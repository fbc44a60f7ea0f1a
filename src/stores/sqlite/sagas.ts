import type { SagaStore } from '../../core/records/sagas.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import { sqliteSchemaControl } from '../../sql/sqlite/connection/schema-control.ts'
import { applyMigrations, isOutdated, type SqliteTables } from '../../sql/sqlite/migrate.ts'
import { openTransaction } from '../../sql/sqlite/unit/transaction.ts'
import { readSaga, readSagas, type SagaRow } from '../../sql/shared/saga-rows.ts'

export const sagaTables: SqliteTables = {
  component: 'saga',
  name: 'sqlite',
  place: 'of sagas',
  steps: [
    {
      version: 1,
      name: 'sagas',
      sql: `
        CREATE TABLE mersal_sagas (
          app TEXT NOT NULL,
          saga TEXT NOT NULL,
          key TEXT NOT NULL,
          id TEXT NOT NULL,
          version INTEGER NOT NULL,
          state TEXT NOT NULL,                        -- JSON
          timeouts TEXT NOT NULL,                     -- JSON
          created_at INTEGER NOT NULL,                -- milliseconds since the Unix epoch
          updated_at INTEGER NOT NULL,
          PRIMARY KEY (app, saga, key)
        ) STRICT, WITHOUT ROWID;
      `,
    },
  ],
}

const columns = 'id, version, state, timeouts'

const sql = {
  read: `SELECT ${columns} FROM mersal_sagas WHERE app = :app AND saga = :saga AND key = :key`,
  write: `
    INSERT INTO mersal_sagas (app, saga, key, ${columns}, created_at, updated_at)
    VALUES (:app, :saga, :key, :id, :version, :state, :timeouts, :now, :now)
    ON CONFLICT (app, saga, key) DO UPDATE SET
      created_at = CASE WHEN id = excluded.id THEN created_at ELSE excluded.created_at END,
      id = excluded.id, version = excluded.version, state = excluded.state,
      timeouts = excluded.timeouts, updated_at = excluded.updated_at`,
  remove: 'DELETE FROM mersal_sagas WHERE app = :app AND saga = :saga AND key = :key',
  list: `
    SELECT app, saga, key, ${columns}, created_at AS created, updated_at AS updated
    FROM mersal_sagas
    WHERE (:app IS NULL OR app = :app) AND (:saga IS NULL OR saga = :saga)
      AND (:key IS NULL OR key = :key)
      AND (:afterApp IS NULL OR (app, saga, key) > (:afterApp, :afterSaga, :afterKey))
    ORDER BY app, saga, key LIMIT :limit`,
} as const

/** The table of sagas. A unit of work has the file for itself, so nothing else locks a key. */
export function sqliteSagas(connection: Connection): SagaStore<SqliteDatabase> {
  const { clock, migrate } = connection.settings
  return {
    schema: sqliteSchemaControl(connection, sagaTables),
    open: () =>
      connection.write((handle) => {
        if (isOutdated(handle, sagaTables, migrate))
          applyMigrations(handle, sagaTables, clock.now())
      }),
    async load(tx, { app, saga, key }) {
      const handle = await openTransaction(connection, tx)
      try {
        const row = handle.get<SagaRow>(sql.read, { app, saga, key })
        return readSaga(row === undefined ? [] : [row])
      } catch (error) {
        throw storeError('reading a saga', error)
      }
    },
    async store(tx, { app, saga, key }, instance) {
      const handle = await openTransaction(connection, tx)
      try {
        if (instance === undefined) handle.run(sql.remove, { app, saga, key })
        else {
          const now = Math.trunc(clock.now())
          const { id, version, state, timeouts } = instance
          handle.run(sql.write, { app, saga, key, id, version, state, timeouts, now })
        }
      } catch (error) {
        throw storeError('storing a saga', error)
      }
    },
    list: ({ app = null, saga = null, key = null, after, limit }) =>
      connection.write((handle) =>
        readSagas(
          handle.all<SagaRow>(sql.list, {
            app,
            saga,
            key,
            afterApp: after?.app ?? null,
            afterSaga: after?.saga ?? null,
            afterKey: after?.key ?? null,
            limit,
          }),
        ),
      ),
  }
}
