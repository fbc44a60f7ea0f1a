import type { OnceStore } from '../../core/records/once.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import { sqliteSchemaControl } from '../../sql/sqlite/connection/schema-control.ts'
import { applyMigrations, isOutdated, type SqliteTables } from '../../sql/sqlite/migrate.ts'
import { openTransaction } from '../../sql/sqlite/unit/transaction.ts'
import { onceEnded } from '../../sql/shared/once-rows.ts'

export const onceTables: SqliteTables = {
  component: 'once',
  name: 'sqlite',
  place: 'of requests',
  steps: [
    {
      version: 1,
      name: 'once',
      sql: `
        CREATE TABLE mersal_once (
          app TEXT NOT NULL,
          scope TEXT NOT NULL,
          key TEXT NOT NULL,
          fingerprint TEXT NOT NULL,
          response TEXT,                              -- JSON
          created_at INTEGER NOT NULL,                -- milliseconds since the Unix epoch
          expires_at INTEGER NOT NULL,
          PRIMARY KEY (app, scope, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX mersal_once_expires_at ON mersal_once (expires_at);
      `,
    },
  ],
}

const mine = 'app = :app AND scope = :scope AND key = :key'

const sql = {
  claim: `
    INSERT INTO mersal_once (app, scope, key, fingerprint, created_at, expires_at)
    VALUES (:app, :scope, :key, :fingerprint, :now, :expires) ON CONFLICT DO NOTHING`,
  read: `SELECT fingerprint, response FROM mersal_once WHERE ${mine}`,
  keep: `UPDATE mersal_once SET response = :response WHERE ${mine}`,
  prune: `
    DELETE FROM mersal_once WHERE (app, scope, key) IN (
      SELECT app, scope, key FROM mersal_once WHERE expires_at < :before
      ORDER BY expires_at LIMIT :limit)`,
} as const

interface Row {
  readonly fingerprint: string
  readonly response: string | null
}

/** A unit of work has the file for itself, so a key is never in the hands of another one. */
export function sqliteOnce(connection: Connection): OnceStore<SqliteDatabase> {
  const { clock, migrate } = connection.settings
  return {
    schema: sqliteSchemaControl(connection, onceTables),
    open: () =>
      connection.write((handle) => {
        if (isOutdated(handle, onceTables, migrate))
          applyMigrations(handle, onceTables, clock.now())
      }),
    async claim(tx, { app, scope, key }, { fingerprint, keepMs }) {
      const handle = await openTransaction(connection, tx)
      try {
        const now = Math.trunc(clock.now())
        const expires = now + keepMs
        const { changes } = handle.run(sql.claim, { app, scope, key, fingerprint, now, expires })
        if (changes === 1) return { kind: 'first' }
        const row = handle.get<Row>(sql.read, { app, scope, key })
        if (row === undefined) return { kind: 'running' }
        return { kind: 'kept', ...row, response: row.response ?? undefined }
      } catch (error) {
        throw storeError('taking the key of a request', error)
      }
    },
    async keep(tx, { app, scope, key }, response) {
      const handle = await openTransaction(connection, tx)
      let changes: number
      try {
        ;({ changes } = handle.run(sql.keep, { app, scope, key, response }))
      } catch (error) {
        throw storeError('keeping the response of a request', error)
      }
      if (changes !== 1) throw onceEnded('sqlite')
    },
    prune: ({ limit, longerMs = 0 }) =>
      connection.write(
        (handle) =>
          handle.run(sql.prune, { before: Math.trunc(clock.now() - longerMs), limit }).changes,
      ),
  }
}
