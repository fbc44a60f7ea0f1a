import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { SchemaControl, SchemaVersion } from '../../core/operations.ts'
import { Connection } from './connection.ts'
import { handleOf } from './database.ts'
import { storeError } from './failure.ts'
import { migrationSql, type Schema, schemaVersion } from './migrate.ts'

/** The tables of one component, without opening the connection, which would bring them up to date. */
export function schemaControl({ settings }: Connection, schema: Schema): SchemaControl {
  const { source, busyTimeoutMs } = settings
  const newest = schema.migrations.at(-1)?.id ?? 0

  function version(): SchemaVersion {
    if ('database' in source) return schemaVersion(handleOf(source.database), schema)
    if (!existsSync(source.path)) return { current: 0, newest }
    const database = new DatabaseSync(source.path, { timeout: busyTimeoutMs })
    try {
      return schemaVersion(handleOf(database), schema)
    } finally {
      database.close()
    }
  }

  return {
    name: `sqlite tables of the ${schema.component}`,
    async version() {
      try {
        return version()
      } catch (error) {
        throw storeError('sqlite: reading the version of the tables', error)
      }
    },
    async upgrade() {
      const connection = new Connection(schema.component, { ...settings, migrate: 'auto' }, schema)
      await connection.open()
      await connection.close()
    },
    sql: (from) => migrationSql(schema, from),
  }
}
