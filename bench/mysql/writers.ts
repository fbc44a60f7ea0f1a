import type { Pool, PoolConnection } from 'mysql2/promise'
import { event, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { type MysqlConnection, mysql } from '../../src/mysql.ts'
import type { Candidate, Sample } from '../measure.ts'
import { type Body, bodyOf, jsonOf } from '../messages.ts'
import type { BenchServer } from '../server.ts'
import { writeFor } from '../write/transactions.ts'
import { numberSql, openPool, wrongNumbers } from './tables.ts'

const Placed = event<Body>('orders.placed')
const BUSINESS = 'insert into business (number, text) values (?, ?)'
const ROW = 'a business row'
const KEYS = 10_000

/** One transaction with one business row, and messages of the numbers that follow. */
type Transact = (number: number) => Promise<unknown>

interface Work {
  readonly messages: number
  readonly table: 'plain' | 'mersal_outbox'
  readonly transact: Transact
}

interface Scene {
  readonly server: BenchServer
  readonly connections: number
  readonly seconds: number
}

/** The transactions of the writer, by hand and through Mersal. */
export function mysqlWriters(scene: Scene, stack: AsyncDisposableStack): Candidate[] {
  const { server, connections } = scene
  const newPool = (): Pool =>
    stack.adopt(openPool(server.url, connections), (opened) => opened.end())
  const pool = newPool()
  const app = stack.use(
    new Mersal({
      name: 'writer',
      store: mysql({ pool: newPool() }),
      transport: memoryTransport(),
      sendOnly: true,
    }),
  )
  const candidate = (name: string, work: Work): Candidate => ({
    name,
    run: () => run(scene, pool, work),
  })
  const byHand = (messages: number, insert: Insert): Work => ({
    messages,
    table: 'plain',
    transact: floor(pool, messages, insert),
  })
  const through = (messages: number, keyed: boolean): Work => ({
    messages,
    table: 'mersal_outbox',
    transact: mersal(app, messages, keyed),
  })
  return [
    candidate('business row alone', byHand(0, oneByOne)),
    candidate('+ 1 message, plain insert', byHand(1, oneByOne)),
    candidate('+ 1 message, Mersal', through(1, false)),
    candidate('+ 1 keyed message, Mersal', through(1, true)),
    candidate('+ 10 messages, plain inserts', byHand(10, oneByOne)),
    candidate('+ 10 messages, one insert', byHand(10, atOnce)),
    candidate('+ 10 messages, Mersal', through(10, false)),
    candidate('+ 10 keyed messages, Mersal', through(10, true)),
  ]
}

type Insert = (connection: PoolConnection, numbers: readonly number[]) => Promise<unknown>

const keyOf = (number: number): string => `key ${number % KEYS}`
const numbersFrom = (number: number, messages: number): readonly number[] =>
  Array.from({ length: messages }, (_, index) => (number - 1) * messages + index + 1)

const oneByOne: Insert = async (connection, numbers) => {
  for (const number of numbers)
    await connection.execute('insert into plain (partition_key, body) values (?, ?)', [
      keyOf(number),
      bodyOf(number),
    ])
}

const atOnce: Insert = (connection, numbers) =>
  connection.execute(
    `insert into plain (partition_key, body) values ${numbers.map(() => '(?, ?)').join()}`,
    numbers.flatMap((number) => [keyOf(number), bodyOf(number)]),
  )

function floor(pool: Pool, messages: number, insert: Insert): Transact {
  return async (number) => {
    const connection = await pool.getConnection()
    await connection.query('start transaction')
    await connection.execute(BUSINESS, [number, ROW])
    await insert(connection, numbersFrom(number, messages))
    await connection.query('commit')
    connection.release()
  }
}

function mersal(app: Mersal<MysqlConnection>, messages: number, keyed: boolean): Transact {
  return (number) =>
    app.transaction(async (tx, { publish }) => {
      await tx.execute(BUSINESS, [number, ROW])
      for (const each of numbersFrom(number, messages))
        await publish(Placed, jsonOf(each), keyed ? { partitionKey: keyOf(each) } : {})
    })
}

/** All connections at once for this number of seconds, then a look at what the database holds. */
async function run(scene: Scene, pool: Pool, { messages, table, transact }: Work): Promise<Sample> {
  for (const name of ['business', 'plain', 'mersal_outbox']) await pool.query(`truncate ${name}`)
  const { connections, seconds, server } = scene
  const writing = { connections, seconds, database: 'mariadb', pid: server.pid }
  const { rate, cpu, done } = await writeFor(writing, transact)
  const business = await wrongNumbers(pool, {
    numbers: 'select number as n from business',
    last: done,
  })
  const sent = await wrongNumbers(pool, {
    numbers: `select ${numberSql} as n from ${table}`,
    last: done * messages,
  })
  const faults = [
    ...business.map((text) => `business rows: ${text}`),
    ...sent.map((text) => `messages: ${text}`),
  ]
  return { rate, cpu, faults }
}
