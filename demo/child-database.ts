/** The database of a child, whichever it is: the handlers of the demo are the same on both. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Pool } from 'pg'
import type { Store } from '../src/index.ts'
import { type PostgresClient, postgres } from '../src/postgres.ts'
import { sqlite } from '../src/sqlite.ts'
import { endBecause, plan } from './child.ts'
import { type AppName, type DatabasePlace } from './plan.ts'

export interface AppDatabase<Tx> {
  openStore(): Store<Tx>
  /** A connection with nothing of Mersal. */
  connect(): Promise<Tx>
  execute(tx: Tx, sql: string): Promise<void>
  insert(tx: Tx, table: string, row: Readonly<Record<string, string | number>>): Promise<void>
  /** The numbers of the lines that this table knows. */
  lines(table: string): Promise<number[]>
}

/** Runs a program with the database of this app. If it fails, the process ends with one line. */
export async function onDatabase(
  name: AppName,
  run: <Tx>(database: AppDatabase<Tx>) => Promise<void>,
): Promise<void> {
  const { database } = plan
  try {
    await (database.kind === 'sqlite'
      ? run(sqliteDatabase(join(database.folder, `${name}.db`)))
      : run(postgresDatabase(database, name)))
  } catch (error) {
    endBecause(error)
  }
}

function sqliteDatabase(path: string): AppDatabase<DatabaseSync> {
  const connect = (): DatabaseSync => new DatabaseSync(path, { timeout: 5000 })
  return {
    openStore: () => sqlite({ path }),
    connect: async () => connect(),
    execute: async (tx, sql) => tx.exec(sql),
    insert: async (tx, table, row) => {
      const names = Object.keys(row)
      tx.prepare(
        `INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`,
      ).run(...Object.values(row))
    },
    lines: async (table) =>
      connect()
        .prepare(`SELECT line FROM ${table}`)
        .all()
        .map(({ line }) => Number(line)),
  }
}

function postgresDatabase(
  { url, prefix }: DatabasePlace & { kind: 'postgres' },
  name: AppName,
): AppDatabase<PostgresClient> {
  const schema = `${prefix}${name}`
  const pool = new Pool({ connectionString: url })
  pool.on('error', () => {}) // an idle connection that breaks is replaced
  return {
    openStore: () =>
      postgres({ pool, schema, logger: { debug() {}, info() {}, warn() {}, error() {} } }),
    connect: async () => {
      const client = await pool.connect()
      client.on('error', endBecause) // there is no other connection to go on with
      return client
    },
    execute: async (tx, sql) => void (await tx.query(sql)),
    insert: async (tx, table, row) => {
      const names = Object.keys(row)
      const places = names.map((_, index) => `$${index + 1}`)
      await tx.query(
        `INSERT INTO ${schema}.${table} (${names.join()}) VALUES (${places.join()})`,
        Object.entries(row).map(stored),
      )
    },
    lines: async (table) =>
      (await pool.query<{ line: number }>(`SELECT line FROM ${schema}.${table}`)).rows.map(
        ({ line }) => line,
      ),
  }
}

/**
 * `text` of PostgreSQL takes no NUL character, and the input may have any: so names are stored as
 * bytes.
 */
function stored([name, value]: [string, string | number]): unknown {
  return name === 'name' || name === 'programme' ? Buffer.from(String(value)) : value
}
