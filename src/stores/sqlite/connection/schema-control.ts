import { existsSync } from 'node:fs'
import type { SchemaControl } from '../../../core/operations.ts'
import { openingError } from './access.ts'
import { Connection } from './connection.ts'
import { connect } from './connect.ts'
import { type Handle, handleOf } from './database.ts'
import { migrationSql, type Schema, schemaVersion } from '../migrate.ts'
import type { ConnectionSettings } from '../options.ts'

/**
 * Reads through a handle of its own, since opening the connection would bring the tables up to
 * date. Undefined: there is no file.
 */
export function readBeside<Result>(
  { source, busyTimeoutMs }: ConnectionSettings,
  read: (handle: Handle) => Result,
): Result | undefined {
  if ('database' in source) return read(handleOf(source.database))
  if ('path' in source && !existsSync(source.path)) return undefined
  const handle = connect('sqlite', source)
  try {
    handle.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    return read(handle)
  } finally {
    handle.native.close()
  }
}

/** The tables of one component, without opening the connection. */
export function schemaControl({ settings }: Connection, schema: Schema): SchemaControl {
  const newest = schema.migrations.at(-1)?.id ?? 0
  return {
    name: `sqlite tables of the ${schema.component}`,
    async version() {
      try {
        return (
          readBeside(settings, (handle) => schemaVersion(handle, schema)) ?? { current: 0, newest }
        )
      } catch (error) {
        throw openingError('sqlite: reading the version of the tables', error, settings)
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
