import { randomBytes } from 'node:crypto'
import { createPool, type Pool, type PoolConnection, type RowDataPacket } from 'mysql2/promise'
import { type MysqlConnection, mysql } from '../../src/mysql.ts'
import type { AppName } from '../plan.ts'
import {
  type AppDatabase,
  type DemoDatabase,
  type FinancialRow,
  type Lost,
  type PlaceOf,
  type Raw,
  type StudentRow,
  apps,
  stored,
  tableOf,
  withText,
} from './database.ts'

/** An idle connection that breaks is replaced: the server is killed as a part of the demo. */
function poolOf(url: string, database?: string): Pool {
  const uri = new URL(url)
  if (database !== undefined) uri.pathname = `/${database}`
  const pool = createPool({ uri: uri.href, connectTimeout: 5000 })
  pool.on('connection', (connection: PoolConnection) => void connection.on('error', () => {}))
  return pool
}

/** A database for each app, on one server. They are dropped at the end. */
export async function openMysql(url: string, withOutbox: boolean): Promise<DemoDatabase> {
  const prefix = `mersal_demo_${randomBytes(4).toString('hex')}_`
  const database = (app: AppName): string => `${prefix}${app}`
  const pool = poolOf(url)
  const read = async <Row>(sql: string): Promise<Row[]> =>
    (await pool.query<RowDataPacket[]>(sql))[0] as Row[]
  for (const app of apps) {
    const { name, columns } = tableOf(app, 'LONGBLOB')
    await pool.query(`CREATE DATABASE ${database(app)} CHARACTER SET utf8mb4`)
    await pool.query(`CREATE TABLE ${database(app)}.${name} (${columns})`)
    if (withOutbox) await makeTables(url, database(app))
  }
  const registrar = `${database('registrar')}.students`
  const finance = `${database('finance')}.financial_registrations`
  const waiting = apps.flatMap((app) =>
    ['outbox', 'dead'].map((table) => `(SELECT count(*) FROM ${database(app)}.mersal_${table})`),
  )
  const counts = `SELECT (SELECT count(*) FROM ${registrar}) AS students, (SELECT count(*) FROM ${finance}) AS financial,
    ${withOutbox ? waiting.join(' + ') : '0'} AS waiting`
  return {
    place: { kind: 'mysql', url, prefix },
    counts: async () =>
      (await read<{ students: number; financial: number; waiting: number }>(counts))[0]!,
    students: async () =>
      (await read<Raw<StudentRow>>(`SELECT id, line, name FROM ${registrar}`)).map(
        withText<StudentRow>,
      ),
    financial: async () =>
      (await read<Raw<FinancialRow>>(`SELECT student_id AS studentId, name FROM ${finance}`)).map(
        withText<FinancialRow>,
      ),
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

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** The side of the child. */
export function mysqlDatabase(
  { url, prefix }: PlaceOf<'postgres' | 'mysql'>,
  name: AppName,
  lost: Lost,
): AppDatabase<MysqlConnection> {
  const pool = poolOf(url, `${prefix}${name}`)
  return {
    openStore: () => mysql({ pool, logger: quiet }),
    connect: async () => {
      const connection = await pool.getConnection()
      connection.on('error', lost) // there is no other connection to go on with
      return connection
    },
    execute: async (tx, sql) => void (await tx.query(sql)),
    insert: async (tx, table, row) => {
      const names = Object.keys(row)
      await tx.execute(
        `INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`,
        Object.entries(row).map(stored),
      )
    },
    lines: async (table) =>
      (await pool.query<RowDataPacket[]>(`SELECT line FROM ${table}`))[0].map(({ line }) =>
        Number(line),
      ),
  }
}
