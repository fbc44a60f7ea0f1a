/** PostgreSQL: a schema for each app, in one database. They are dropped at the end. */
import { randomBytes } from 'node:crypto'
import { Client, Pool } from 'pg'
import { type PostgresClient, postgres } from '../../src/postgres.ts'
import { clusterProblem, privateCluster } from '../../scripts/servers/postgres.ts'
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

export const postgresServer: ServerKind = {
  name: 'PostgreSQL',
  problem: clusterProblem,
  variable: 'MERSAL_TEST_POSTGRES_URL',
  option: '--postgres-url',
  open: () => privateCluster({ max_connections: '100' }),
  greet: async (url) => {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: GREET_MS })
    client.on('error', () => {}) // the call that fails tells of it
    try {
      await client.connect()
      await client.query('SELECT 1')
    } finally {
      await client.end().catch(() => {})
    }
  },
}

export async function openPostgres(url: string, withOutbox: boolean): Promise<DemoDatabase> {
  const prefix = `mersal_demo_${randomBytes(4).toString('hex')}_`
  const schema = (app: AppName): string => `${prefix}${app}`
  const pool = new Pool({ connectionString: url, max: 3 })
  pool.on('error', () => {}) // the server is killed as a part of the demo
  for (const app of apps) {
    const { name, columns } = tableOf(app, 'BYTEA')
    await pool.query(`CREATE SCHEMA ${schema(app)}`)
    await pool.query(`CREATE TABLE ${schema(app)}.${name} (${columns})`)
    if (!withOutbox) continue
    await using store = postgres({ pool, schema: schema(app) })
    await store.open()
  }
  return {
    place: { kind: 'postgres', url, prefix },
    ...reader({
      query: async <Found>(_: AppName, sql: string) => (await pool.query(sql)).rows as Found[],
      table: (app, name) => `${schema(app)}.${name}`,
      outbox: withOutbox ? ['outbox', 'dead'] : [],
    }),
    [Symbol.asyncDispose]: async () => {
      for (const app of apps) await pool.query(`DROP SCHEMA IF EXISTS ${schema(app)} CASCADE`)
      await pool.end()
    },
  }
}

/** As a program uses it. */
export function postgresDatabase(
  { url, prefix }: PlaceOf<'postgres'>,
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
      const { sql, values } = insertion(`${schema}.${table}`, row, (n) => `$${n}`)
      await tx.query(sql, values)
    },
    lines: async (table) =>
      (await pool.query<{ line: number }>(`SELECT line FROM ${schema}.${table}`)).rows.map(
        ({ line }) => line,
      ),
  }
}
