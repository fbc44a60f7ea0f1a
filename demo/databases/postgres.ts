import { randomBytes } from 'node:crypto'
import { Pool } from 'pg'
import { type PostgresClient, postgres } from '../../src/postgres.ts'
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

/** A schema for each app, in one database. They are dropped at the end. */
export async function openPostgres(url: string, withOutbox: boolean): Promise<DemoDatabase> {
  const prefix = `mersal_demo_${randomBytes(4).toString('hex')}_`
  const schema = (app: AppName): string => `${prefix}${app}`
  const pool = new Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {}) // the server is killed as a part of the demo
  for (const app of apps) {
    const { name, columns } = tableOf(app, 'BYTEA')
    await pool.query(`CREATE SCHEMA ${schema(app)}`)
    await pool.query(`CREATE TABLE ${schema(app)}.${name} (${columns})`)
    if (!withOutbox) continue
    await using store = postgres({ pool, schema: schema(app) })
    await store.open()
  }
  const read = async <Row extends object>(sql: string): Promise<Row[]> =>
    (await pool.query<Row>(sql)).rows
  const waiting = apps
    .map(
      (app) =>
        `(SELECT count(*) FROM ${schema(app)}.outbox) + (SELECT count(*) FROM ${schema(app)}.dead)`,
    )
    .join(' + ')
  const registrar = `${schema('registrar')}.students`
  const finance = `${schema('finance')}.financial_registrations`
  const counts = `SELECT (SELECT count(*) FROM ${registrar})::int AS students, (SELECT count(*) FROM ${finance})::int AS financial,
    (${withOutbox ? waiting : '0'})::int AS waiting`
  return {
    place: { kind: 'postgres', url, prefix },
    counts: async () =>
      (await read<{ students: number; financial: number; waiting: number }>(counts))[0]!,
    students: async () =>
      (await read<Raw<StudentRow>>(`SELECT id, line, name FROM ${registrar}`)).map(
        withText<StudentRow>,
      ),
    financial: async () =>
      (await read<Raw<FinancialRow>>(`SELECT student_id AS "studentId", name FROM ${finance}`)).map(
        withText<FinancialRow>,
      ),
    [Symbol.asyncDispose]: async () => {
      for (const app of apps) await pool.query(`DROP SCHEMA IF EXISTS ${schema(app)} CASCADE`)
      await pool.end()
    },
  }
}

/** The side of the child. */
export function postgresDatabase(
  { url, prefix }: PlaceOf<'postgres' | 'mysql'>,
  name: AppName,
  lost: Lost,
): AppDatabase<PostgresClient> {
  const schema = `${prefix}${name}`
  const pool = new Pool({ connectionString: url })
  pool.on('error', () => {}) // an idle connection that breaks is replaced
  return {
    openStore: () =>
      postgres({ pool, schema, logger: { debug() {}, info() {}, warn() {}, error() {} } }),
    connect: async () => {
      const client = await pool.connect()
      client.on('error', lost) // there is no other connection to go on with
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
