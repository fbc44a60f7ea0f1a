import { MersalError } from '../../core/errors/errors.ts'
import type { SchemaVersion } from '../../core/operations.ts'
import type { Handle } from './connection/database.ts'

/** One step of a schema. Steps are only ever appended, with ids 1, 2, 3, ... */
export interface Migration {
  readonly id: number
  readonly name: string
  readonly sql: string
}

/** `auto`: bring the tables up to date. `check`: throw unless they are. `off`: trust. */
export type MigrateMode = 'auto' | 'check' | 'off'

export interface Schema {
  /** Which tables these are; several schemas live in one file. */
  readonly component: 'store' | 'queue'
  readonly migrations: readonly Migration[]
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
    'INSERT INTO mersal_migrations (component, id, name, applied_at) VALUES (:component, :id, :name, :now)',
}

function newest(schema: Schema): number {
  return schema.migrations.at(-1)?.id ?? 0
}

function versionOf(handle: Handle, schema: Schema): number {
  if (handle.get(sql.exists) === undefined) return 0
  return handle.get<{ version: number }>(sql.version, { component: schema.component })?.version ?? 0
}

/** Steps that have been applied, and all there are. Throws `MERSAL_SCHEMA_TOO_NEW`. */
export function schemaVersion(handle: Handle, schema: Schema): SchemaVersion {
  isOutdated(handle, schema)
  return { current: versionOf(handle, schema), newest: newest(schema) }
}

/** The steps after a version as plain SQL. */
export function migrationSql(schema: Schema, from: number): string {
  const steps = schema.migrations
    .filter(({ id }) => id > from)
    .map(
      ({ id, name, sql: step }) =>
        `${step}\nINSERT INTO mersal_migrations (component, id, name, applied_at) VALUES ('${schema.component}', ${id}, '${name.replaceAll("'", "''")}', unixepoch() * 1000);`,
    )
  return ['BEGIN IMMEDIATE;', `${sql.create};`, ...steps, 'COMMIT;', ''].join('\n')
}

/** Whether steps are missing. Throws `MERSAL_SCHEMA_TOO_NEW` if a newer Mersal has been here. */
export function isOutdated(handle: Handle, schema: Schema): boolean {
  const version = versionOf(handle, schema)
  if (version <= newest(schema)) return version < newest(schema)
  throw new MersalError(
    'MERSAL_SCHEMA_TOO_NEW',
    `the ${schema.component} tables have version ${version}, this Mersal knows ${newest(schema)}: update the package`,
    { details: { found: version, known: newest(schema) } },
  )
}

/** Throws `MERSAL_SCHEMA_MISSING` if steps are missing. */
export function requireSchema(handle: Handle, schema: Schema): void {
  if (!isOutdated(handle, schema)) return
  throw new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `the ${schema.component} tables are missing or older than this Mersal: open the database once with migrate: 'auto'`,
    { details: { found: versionOf(handle, schema), known: newest(schema) } },
  )
}

/**
 * Applies the missing steps. Call it in a write transaction, so that processes that race find it
 * done.
 */
export function applyMigrations(handle: Handle, schema: Schema, now: number): void {
  if (!isOutdated(handle, schema)) return
  handle.exec(sql.create)
  const from = versionOf(handle, schema)
  for (const { id, name, sql: step } of schema.migrations) {
    if (id <= from) continue
    handle.exec(step)
    handle.run(sql.record, { component: schema.component, id, name, now })
  }
}
