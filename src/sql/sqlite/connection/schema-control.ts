import { existsSync } from 'node:fs'
import type { SchemaControl } from '../../../core/operations.ts'
import { schemaControl } from '../../shared/migrations.ts'
import { openingError } from './access.ts'
import { Connection } from './connection.ts'
import { connect } from './connect.ts'
import { type Handle, handleOf } from './database.ts'
import { currentVersion, sqliteScript, type SqliteTables } from '../migrate.ts'
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
    handle.neverWaits = false
    handle.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    return read(handle)
  } finally {
    handle.native.close()
  }
}

/** The tables of one component, without opening the connection. */
export function sqliteSchemaControl({ settings }: Connection, tables: SqliteTables): SchemaControl {
  return schemaControl(tables, {
    async current() {
      try {
        return readBeside(settings, (handle) => currentVersion(handle, tables)) ?? 0
      } catch (error) {
        throw openingError('sqlite: reading the version of the tables', error, settings)
      }
    },
    async upgrade() {
      const connection = new Connection(tables.component, { ...settings, migrate: 'auto' }, tables)
      await connection.open()
      await connection.close()
    },
    script: (from) => sqliteScript(tables, from),
  })
}
