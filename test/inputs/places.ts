import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Pool } from 'pg'
import type { DeadLetterBox } from '../../src/core/dead-letter.ts'
import type { Store } from '../../src/core/store.ts'
import type { Logger } from '../../src/core/telemetry.ts'
import type { Transport } from '../../src/core/transport.ts'
import { memoryStore, memoryTransport, type MemoryTransaction } from '../../src/memory.ts'
import { postgres, type PostgresClient, postgresQueue } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { serverUrl } from '../postgres/database.ts'
import { openVhost } from '../rabbitmq/broker.ts'
import { canaries, hear } from './soundness.ts'

export const adapters = ['memory', 'sqlite', 'postgres', 'postgres straight', 'rabbitmq'] as const
export type Adapter = (typeof adapters)[number]

export const LARGEST_BYTES = 1024 * 1024

/** A store and a broker of one kind, empty. */
export interface Place extends AsyncDisposable {
  readonly adapter: Adapter
  readonly store: Store<unknown>
  readonly transport: Transport
  readonly incoming: (queue: string) => DeadLetterBox
  /** Writes a business row. */
  readonly note: (tx: unknown, label: string) => Promise<void>
  /** Labels of the business rows that were committed. */
  readonly noted: () => Promise<ReadonlySet<string>>
  /** A statement past Mersal, for tampering; undefined where nobody else can get at the rows. */
  readonly tamper?: (
    sql: string,
    ...values: readonly (string | number | null | Uint8Array)[]
  ) => Promise<unknown[]>
  /** Where names of tables of the store and of the queue begin. */
  readonly tables: { readonly store: string; readonly queue: string }
  /** Of the broker, for clients of another kind. */
  readonly url?: string
}

/** Everything that is logged is heard. */
export const logger: Logger = (() => {
  const write = (fields: object, text: string): void => hear({ text, ...fields })
  return { debug: write, info: write, warn: write, error: write }
})()

export function openPlace(adapter: Adapter): Promise<Place> {
  switch (adapter) {
    case 'memory':
      return Promise.resolve(memoryPlace())
    case 'sqlite':
      return Promise.resolve(sqlitePlace())
    case 'postgres':
    case 'postgres straight':
      return postgresPlace(adapter)
    case 'rabbitmq':
    default:
      return rabbitPlace()
  }
}

function memoryPlace(): Place {
  const transport = memoryTransport({ maxMessageBytes: LARGEST_BYTES })
  const store = memoryStore() as Store<unknown>
  return {
    adapter: 'memory',
    store,
    transport,
    incoming: () => transport.deadLetters,
    note: async (tx, label) => (tx as MemoryTransaction).set(label, true),
    noted: () =>
      store.unitOfWork(
        async (tx) => new Set((tx as MemoryTransaction).entries().map(([key]) => key)),
      ),
    tables: { store: '', queue: '' },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
    },
  }
}

function sqlitePlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-inputs-'))
  const path = join(folder, 'app.db')
  const database = new DatabaseSync(path)
  database.exec(
    'pragma journal_mode = wal; pragma busy_timeout = 10000; create table business (text text not null)',
  )
  const transport = sqliteQueue({
    path,
    synchronous: 'normal',
    maxMessageBytes: LARGEST_BYTES,
    logger,
  })
  const store = sqlite({ path, synchronous: 'normal' })
  return {
    adapter: 'sqlite',
    store,
    transport,
    incoming: () => transport.deadLetters,
    note: async (tx, label) =>
      void (tx as DatabaseSync).prepare('insert into business (text) values (?)').run(label),
    noted: async () =>
      new Set(
        (database.prepare('select text from business').all() as { text: string }[]).map(
          ({ text }) => text,
        ),
      ),
    tamper: async (sql, ...values) => database.prepare(sql).all(...values),
    tables: { store: 'mersal_', queue: 'mersal_' },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
      database.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface Database extends AsyncDisposable {
  readonly pool: Pool
  readonly schema: string
}

/**
 * The password is a canary; the server of the tests trusts its own machine and does not look at it.
 */
export function poolWithCanary(max = 6): Pool {
  const url = new URL(serverUrl)
  if (url.password === '') url.password = canaries.postgres
  const pool = new Pool({ connectionString: url.href, max })
  pool.on('error', hear)
  return pool
}

async function openDatabase(): Promise<Database> {
  const pool = poolWithCanary()
  const schema = `mersal_inputs_${randomBytes(6).toString('hex')}`
  await pool.query(`create schema ${schema}`)
  await pool.query(`create table ${schema}.business (text text not null)`)
  return {
    pool,
    schema,
    async [Symbol.asyncDispose]() {
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    },
  }
}

function postgresParts({
  pool,
  schema,
}: Database): Pick<Place, 'store' | 'note' | 'noted' | 'tamper' | 'tables'> {
  return {
    store: postgres({ pool, schema, logger }),
    note: async (tx, label) =>
      void (await (tx as PostgresClient).query(
        `insert into ${schema}.business (text) values ($1)`,
        [label],
      )),
    noted: async () =>
      new Set(
        (await pool.query<{ text: string }>(`select text from ${schema}.business`)).rows.map(
          ({ text }) => text,
        ),
      ),
    tamper: async (sql, ...values) => (await pool.query(sql, [...values])).rows as unknown[],
    tables: { store: `${schema}.`, queue: `${schema}.queue_` },
  }
}

async function postgresPlace(adapter: 'postgres' | 'postgres straight'): Promise<Place> {
  const database = await openDatabase()
  const { pool, schema } = database
  const straight = adapter === 'postgres straight'
  const transport = postgresQueue({
    pool,
    schema,
    straight,
    maxMessageBytes: LARGEST_BYTES,
    logger,
  })
  const parts = postgresParts(database)
  return {
    adapter,
    ...parts,
    transport,
    incoming: () => transport.deadLetters,
    async [Symbol.asyncDispose]() {
      await parts.store[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

async function rabbitPlace(): Promise<Place> {
  const database = await openDatabase()
  const vhost = await openVhost()
  const user = `inputs-${process.pid}-${randomBytes(3).toString('hex')}`
  await vhost.ctl('add_user', user, canaries.rabbitmq)
  await vhost.ctl('set_permissions', '-p', vhost.vhost, user, '.*', '.*', '.*')
  const url = `amqp://${user}:${canaries.rabbitmq}@127.0.0.1:5672/${vhost.vhost}`
  const transport = rabbitmq({
    url,
    queueType: 'classic',
    newQueuePauseMs: 0,
    maxMessageBytes: LARGEST_BYTES,
    logger,
  })
  const parts = postgresParts(database)
  return {
    adapter: 'rabbitmq',
    ...parts,
    transport,
    url,
    incoming: (queue) => transport.deadLettersOf(queue),
    async [Symbol.asyncDispose]() {
      await parts.store[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
      await vhost[Symbol.asyncDispose]()
      await vhost.ctl('delete_user', user)
      await database[Symbol.asyncDispose]()
    },
  }
}
