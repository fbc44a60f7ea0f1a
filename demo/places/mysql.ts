/** MariaDB: a database for each app, on one server. They are dropped at the end. */
import { randomBytes } from 'node:crypto'
import {
  type Pool,
  type PoolConnection,
  type RowDataPacket,
  createConnection,
  createPool,
} from 'mysql2/promise'
import { type MysqlConnection, mysql } from '../../src/mysql.ts'
import { mariadbProblem, privateMariadb } from '../../scripts/servers/mariadb.ts'
import type { AppName, PlaceOf } from '../plan.ts'
import {
  type AppDatabase,
  type DemoDatabase,
  GREET_MS,
  type Lost,
  type ServerKind,
  apps,
  insertion,
  reader,
  tableOf,
} from './place.ts'

export const mysqlServer: ServerKind = {
  name: 'MariaDB',
  problem: mariadbProblem,
  variable: 'MERSAL_TEST_MYSQL_URL',
  option: '--mysql-url',
  open: () => privateMariadb(),
  greet: async (url) => {
    const connection = await createConnection({ uri: url, connectTimeout: GREET_MS })
    connection.on('error', () => {}) // the call that fails tells of it
    try {
      await connection.query('select 1')
    } finally {
      await connection.end().catch(() => {})
    }
  },
}

/** An idle connection that breaks is replaced: the server is killed as a part of the demo. */
function poolOf(url: string, database?: string): Pool {
  const uri = new URL(url)
  if (database !== undefined) uri.pathname = `/${database}`
  const pool = createPool({ uri: uri.href, connectTimeout: 5000 })
  pool.on('connection', (connection: PoolConnection) => void connection.on('error', () => {}))
  return pool
}

export async function openMysql(url: string, withOutbox: boolean): Promise<DemoDatabase> {
  const prefix = `mersal_demo_${randomBytes(4).toString('hex')}_`
  const database = (app: AppName): string => `${prefix}${app}`
  const pool = poolOf(url)
  for (const app of apps) {
    const { name, columns } = tableOf(app, 'LONGBLOB')
    await pool.query(`CREATE DATABASE ${database(app)} CHARACTER SET utf8mb4`)
    await pool.query(`CREATE TABLE ${database(app)}.${name} (${columns})`)
    if (withOutbox) await makeTables(url, database(app))
  }
  return {
    place: { kind: 'mysql', url, prefix },
    ...reader({
      query: async <Found>(_: AppName, sql: string) =>
        (await pool.query<RowDataPacket[]>(sql))[0] as Found[],
      table: (app, name) => `${database(app)}.${name}`,
      outbox: withOutbox ? ['mersal_outbox', 'mersal_dead'] : [],
    }),
    [Symbol.asyncDispose]: async () => {
      for (const app of apps) await pool.query(`DROP DATABASE IF EXISTS ${database(app)}`)
      await pool.end()
    },
  }
}

async function makeTables(url: string, database: string): Promise<void> {
  const pool = poolOf(url, database)
  try {
    await using store = mysql({ pool })
    await store.open()
  } finally {
    await pool.end()
  }
}

/** As a program uses it. */
export function mysqlDatabase(
  { url, prefix }: PlaceOf<'mysql'>,
  name: AppName,
  lost: Lost,
): AppDatabase<MysqlConnection> {
  const pool = poolOf(url, `${prefix}${name}`)
  return {
    openStore: () => mysql({ pool, logger: { debug() {}, info() {}, warn() {}, error() {} } }),
    connect: async () => {
      const connection = await pool.getConnection()
      connection.on('error', lost) // there is no other connection to go on with
      return connection
    },
    execute: async (tx, sql) => void (await tx.query(sql)),
    insert: async (tx, table, row) => {
      const { sql, values } = insertion(table, row)
      await tx.execute(sql, values)
    },
    lines: async (table) =>
      (await pool.query<RowDataPacket[]>(`SELECT line FROM ${table}`))[0].map(({ line }) =>
        Number(line),
      ),
  }
}
