/** The database and the broker of a process of a cell. */
import { DatabaseSync } from 'node:sqlite'
import { createPool, type PoolConnection } from 'mysql2/promise'
import { Pool, type PoolConfig } from 'pg'
import type { Store } from '../../src/core/store.ts'
import type { Transport } from '../../src/core/transport.ts'
import { mysql, type MysqlConnection } from '../../src/mysql.ts'
import { postgres, type PostgresClient } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { HOLD_MS, type WorkerPlan } from './plan.ts'

export type Row = Readonly<Record<string, unknown>>
type Value = string | number

export interface Desk extends AsyncDisposable {
  readonly store: Store<unknown>
  readonly transport: Transport
  /** `?` stands for a value. */
  run(tx: unknown, sql: string, ...values: Value[]): Promise<readonly Row[]>
  /** On a connection of its own. */
  ask(sql: string, ...values: Value[]): Promise<readonly Row[]>
  /** Milliseconds by the clock that delays go by, as SQL. */
  readonly now: string
}

const broker = ({ broker: url, exchange }: WorkerPlan): Transport =>
  rabbitmq({ url, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })

export function openDesk(plan: WorkerPlan): Desk {
  switch (plan.kind.database) {
    case 'postgres':
      return postgresDesk(plan)
    case 'mysql':
      return mysqlDesk(plan)
    case 'sqlite':
      return sqliteDesk(plan)
    default:
      return plan.kind.database satisfies never
  }
}

function postgresDesk(plan: WorkerPlan): Desk {
  const { schema, database } = plan
  const config: PoolConfig = {
    connectionString: database,
    options: `-c search_path=${schema}`,
  }
  const pool = new Pool({ ...config, max: 6 })
  const relayPool = new Pool({ ...config, max: 4 })
  for (const each of [pool, relayPool]) each.on('error', () => {})
  const numbered = (sql: string): string => {
    let count = 0
    return sql.replaceAll('?', () => `$${++count}`)
  }
  return {
    store: postgres({ pool, relayPool, schema, prepare: true }),
    transport: broker(plan),
    now: '(extract(epoch from clock_timestamp()) * 1000)::bigint',
    run: async (tx, sql, ...values) =>
      (await (tx as PostgresClient).query(numbered(sql), values)).rows,
    ask: async (sql, ...values) => (await pool.query<Row>(numbered(sql), values)).rows,
    async [Symbol.asyncDispose]() {
      await Promise.all([pool.end(), relayPool.end()])
    },
  }
}

function mysqlDesk(plan: WorkerPlan): Desk {
  const pool = createPool({ uri: plan.database, connectionLimit: 8, connectTimeout: 5000 })
  pool.on('connection', (connection: PoolConnection) => {
    connection.on('error', () => {}) // the call that fails tells of it
  })
  return {
    store: mysql({ pool }),
    transport: broker(plan),
    now: 'cast(unix_timestamp(now(6)) * 1000 as signed)',
    async run(tx, sql, ...values) {
      const [rows] = (await (tx as MysqlConnection).query(sql, values)) as [unknown]
      return Array.isArray(rows) ? (rows as readonly Row[]) : []
    },
    async ask(sql, ...values) {
      const [rows] = await pool.query(sql, values)
      return Array.isArray(rows) ? (rows as readonly Row[]) : []
    },
    [Symbol.asyncDispose]: () => pool.end(),
  }
}

function sqliteDesk({ database: folder }: WorkerPlan): Desk {
  const path = `${folder}/app.db`
  const reader = new DatabaseSync(path, { timeout: 10_000 })
  return {
    store: sqlite({ path }),
    transport: sqliteQueue({
      path: `${folder}/queue.db`,
      visibilityMs: HOLD_MS,
      pollIntervalMs: 100,
      eventsWithoutSubscribers: 'discard',
    }),
    now: `cast(unixepoch('subsec') * 1000 as integer)`,
    run: (tx, sql, ...values) =>
      Promise.resolve((tx as DatabaseSync).prepare(sql).all(...values) as readonly Row[]),
    ask: (sql, ...values) => Promise.resolve(reader.prepare(sql).all(...values) as readonly Row[]),
    [Symbol.asyncDispose]: () => Promise.resolve(reader.close()),
  }
}
