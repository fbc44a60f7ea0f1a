import {
  migrationScript,
  missingSteps,
  type MigrateMode,
  mustMigrate,
  type ScriptWords,
  type Tables,
} from '../shared/migrations.ts'
import type { Handle } from './connection/database.ts'

/** Several lists of steps live in one file. */
export interface SqliteTables extends Tables {
  /** Names the list in the table of the steps that have been applied. */
  readonly component: 'store' | 'queue' | 'saga' | 'once'
}

const sql = {
  exists: `SELECT 1 AS found FROM sqlite_schema WHERE type = 'table' AND name = 'mersal_migrations'`,
  create: `CREATE TABLE IF NOT EXISTS mersal_migrations (
    component TEXT NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL, -- milliseconds since the Unix epoch
    PRIMARY KEY (component, id)
  ) STRICT, WITHOUT ROWID`,
  version:
    'SELECT coalesce(max(id), 0) AS version FROM mersal_migrations WHERE component = :component',
  record:
    'INSERT INTO mersal_migrations (component, id, name, applied_at) VALUES (:component, :version, :name, :now)',
}

/** The version of the tables, or 0 when there are none. */
export function currentVersion(handle: Handle, { component }: SqliteTables): number {
  if (handle.get(sql.exists) === undefined) return 0
  return handle.get<{ version: number }>(sql.version, { component })?.version ?? 0
}

/** Whether steps are to be applied. Throws as `mustMigrate`. */
export const isOutdated = (handle: Handle, tables: SqliteTables, mode: MigrateMode): boolean =>
  mode !== 'off' && mustMigrate(tables, currentVersion(handle, tables), mode)

/**
 * Applies the missing steps. Call it in a write transaction, so that processes that race find it
 * done.
 */
export function applyMigrations(handle: Handle, tables: SqliteTables, now: number): void {
  const missing = missingSteps(tables, currentVersion(handle, tables))
  if (missing.length > 0) handle.exec(sql.create)
  for (const { version, name, sql: step } of missing) {
    handle.exec(step)
    handle.run(sql.record, { component: tables.component, version, name, now })
  }
}

export function sqliteScript(tables: SqliteTables, from: number): string {
  const words: ScriptWords = {
    begin: ['BEGIN IMMEDIATE;', `${sql.create};`],
    create: [],
    record: (version, name) =>
      `INSERT INTO mersal_migrations (component, id, name, applied_at) VALUES ('${tables.component}', ${version}, ${name}, unixepoch() * 1000);`,
    end: ['COMMIT;'],
  }
  return migrationScript(tables, from, words)
}
