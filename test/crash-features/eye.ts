/** What the test itself sees of a cell: plain SQL, and a plain client of the broker. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Channel } from 'amqplib'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import { privateMariadb } from '../../scripts/servers/mariadb.ts'
import { privateCluster } from '../../scripts/servers/postgres.ts'
import { openWithPlainClient } from '../rabbitmq/plainly.ts'
import type { Row } from './desk.ts'
import { clerkOf, type Road, tapOf, type WorkerPlan } from './plan.ts'

export interface Copy {
  readonly id: string
  readonly type: string
  readonly body: string
}

/** Where one cell lives. */
export interface Site extends AsyncDisposable {
  readonly address: Pick<WorkerPlan, 'database' | 'schema' | 'broker'>
  /** Of the tables of the business. */
  rows(sql: string): Promise<readonly Row[]>
  /** Instances: `saga_key`, `state`, `timeouts`. */
  sagas(): Promise<readonly Row[]>
  /** Rows that wait: `id`, `type`, `body`, `due`. */
  outbox(): Promise<readonly Row[]>
  /** What is in a queue that nobody of Mersal reads. */
  tap(): Promise<readonly Copy[]>
  /** Messages in the queue of the clerk. */
  waiting(): Promise<number>
}

/** The servers of one road. */
export interface Servers extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>
  open(cell: string): Promise<Site>
}

export const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString() : String(value)

export function openServers(database: Road['database']): Promise<Servers> {
  switch (database) {
    case 'postgres':
      return postgresServers()
    case 'mysql':
      return mysqlServers()
    case 'sqlite':
      return Promise.resolve(sqliteServers())
    default:
      return database satisfies never
  }
}

type Messages = Pick<Site, 'tap' | 'waiting'> & AsyncDisposable
interface Broker extends AsyncDisposable {
  readonly url: string
  readonly version: string
  of(cell: string): Messages
}

async function everything(channel: Channel, queue: string): Promise<readonly Copy[]> {
  const copies: Copy[] = []
  for (;;) {
    const got = await channel.get(queue, { noAck: true })
    if (got === false) return copies
    const { messageId } = got.properties
    copies.push({
      id: String(messageId),
      type: got.fields.routingKey,
      body: got.content.toString(),
    })
  }
}

async function openBroker(): Promise<Broker> {
  const stack = new AsyncDisposableStack()
  const { server, plainly } = await openWithPlainClient(stack)
  return {
    url: server.url,
    version: (await server.ctl('version')).trim(),
    of: (cell) => ({
      tap: () => plainly((channel) => everything(channel, tapOf(cell))),
      waiting: () =>
        plainly(async (channel) => (await channel.checkQueue(clerkOf(cell))).messageCount),
      [Symbol.asyncDispose]: () =>
        plainly(async (channel) => {
          for (const queue of [tapOf(cell), clerkOf(cell)])
            for (const name of [queue, `${queue}.dead`]) await channel.deleteQueue(name)
          await channel.deleteExchange(cell)
        }),
    }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function postgresServers(): Promise<Servers> {
  const stack = new AsyncDisposableStack()
  const [cluster, broker] = await Promise.all([
    privateCluster({ max_connections: '200', synchronous_commit: 'on' }),
    openBroker(),
  ])
  for (const each of [cluster, broker]) stack.use(each)
  const admin = new Pool({ connectionString: cluster.url, max: 1 })
  stack.defer(() => admin.end())
  const { rows } = await admin.query<{ server_version: string }>('show server_version')
  return {
    versions: {
      PostgreSQL: rows[0]?.server_version.split(' ')[0] ?? '?',
      RabbitMQ: broker.version,
    },
    async open(cell) {
      await admin.query(`create schema ${cell}`)
      const options = `-c search_path=${cell}`
      const pool = new Pool({ connectionString: cluster.url, max: 2, options })
      const messages = broker.of(cell)
      const all = async (sql: string): Promise<readonly Row[]> => (await pool.query<Row>(sql)).rows
      return {
        ...messages,
        address: { database: cluster.url, schema: cell, broker: broker.url },
        rows: all,
        sagas: () => all('select key as saga_key, state::text, timeouts::text from saga'),
        outbox: () => all('select id::text, type, body, due_at as due from outbox'),
        async [Symbol.asyncDispose]() {
          await messages[Symbol.asyncDispose]()
          await pool.end()
          await admin.query(`drop schema ${cell} cascade`)
        },
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function mysqlServers(): Promise<Servers> {
  const stack = new AsyncDisposableStack()
  const [server, broker] = await Promise.all([
    privateMariadb(['--innodb-buffer-pool-size=64M', '--max-connections=200']),
    openBroker(),
  ])
  for (const each of [server, broker]) stack.use(each)
  const admin = createPool({ uri: server.url, connectionLimit: 2 })
  stack.defer(() => admin.end())
  const run = async (sql: string): Promise<readonly Row[]> => {
    const [rows] = await admin.query(sql)
    return Array.isArray(rows) ? (rows as readonly Row[]) : []
  }
  const [version] = await run('select version() as v')
  return {
    versions: { MariaDB: String(version?.['v']).split('-')[0] ?? '?', RabbitMQ: broker.version },
    async open(cell) {
      await run(`create database ${cell} character set utf8mb4`)
      const own = createPool({ uri: `${server.url}/${cell}`, connectionLimit: 2 })
      const all = async (sql: string): Promise<readonly Row[]> => {
        const [rows] = await own.query(sql)
        return Array.isArray(rows) ? (rows as readonly Row[]) : []
      }
      const messages = broker.of(cell)
      return {
        ...messages,
        address: { database: `${server.url}/${cell}`, schema: cell, broker: broker.url },
        rows: all,
        sagas: () => all('select saga_key, state, timeouts from mersal_saga where id is not null'),
        outbox: () => all('select id, type, body, due_at as due from mersal_outbox'),
        async [Symbol.asyncDispose]() {
          await messages[Symbol.asyncDispose]()
          await own.end()
          await run(`drop database ${cell}`)
        },
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function sqliteServers(): Servers {
  const probe = new DatabaseSync(':memory:')
  const version = probe.prepare('select sqlite_version() as v').get()
  probe.close()
  return {
    versions: { SQLite: String(version?.['v']) },
    open: (cell) => Promise.resolve(sqliteSite(cell)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function sqliteSite(cell: string): Site {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-features-'))
  const file = (name: string): string => join(folder, `${name}.db`)
  const read = (name: string, sql: string): Promise<readonly Row[]> => {
    using database = new DatabaseSync(file(name), { timeout: 20_000 })
    return Promise.resolve(database.prepare(sql).all() as readonly Row[])
  }
  const inQueue = 'from mersal_queue_messages where queue ='
  return {
    address: { database: folder, schema: '', broker: '' },
    rows: (sql) => read('app', sql),
    sagas: () => read('app', 'select key as saga_key, state, timeouts from mersal_sagas'),
    outbox: () => read('app', 'select id, type, body, due_at as due from mersal_outbox'),
    async tap() {
      const rows = await read('queue', `select id, type, body ${inQueue} '${tapOf(cell)}'`)
      return rows.map(({ id, type, body }) => ({
        id: String(id),
        type: String(type),
        body: textOf(body),
      }))
    },
    async waiting() {
      const [row] = await read('queue', `select count(*) as n ${inQueue} '${clerkOf(cell)}'`)
      return Number(row?.['n'] ?? 0)
    },
    [Symbol.asyncDispose]: () => Promise.resolve(rmSync(folder, { recursive: true })),
  }
}
