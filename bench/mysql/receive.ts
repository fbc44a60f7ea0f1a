import type { ConsumeMessage } from 'amqplib'
import type { Pool, PoolConnection, ResultSetHeader } from 'mysql2/promise'
import { Mersal } from '../../src/index.ts'
import { mysql } from '../../src/mysql.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { numberOf } from '../messages.ts'
import { CONCURRENCY, handleAll, measured } from '../receive/handled.ts'
import { consumeByHand, declareFilled } from '../receive/rabbitmq.ts'
import type { BenchServer } from '../server.ts'
import { makeTables, openPool, wrongNumbers } from './tables.ts'

const INSERT = 'insert into received (number) values (?)'

interface Scene {
  readonly pool: Pool
  readonly rabbit: BenchServer
  readonly queue: string
  readonly count: number
}

/** Handles the messages of a queue, and resolves when all have been handled. */
type Receive = (scene: Scene, stack: AsyncDisposableStack) => Promise<void>

export function mysqlReceivers(
  effort: Effort,
  mariadb: BenchServer,
  rabbit: BenchServer,
): Candidate[] {
  const count = amount(effort, 10_000, 3000)
  const candidate = (name: string, receive: Receive): Candidate => ({
    name,
    run: () => run({ mariadb, rabbit, count }, receive),
  })
  return [
    candidate('consumer with an inbox row and a business row', byHand(inboxed)),
    candidate('consumer with a business row', byHand(business)),
    candidate('Mersal', mersal),
  ]
}

async function run(
  { mariadb, rabbit, count }: { mariadb: BenchServer; rabbit: BenchServer; count: number },
  receive: Receive,
): Promise<Sample> {
  await makeTables(mariadb.url)
  await using stack = new AsyncDisposableStack()
  const pool = stack.adopt(openPool(mariadb.url, CONCURRENCY + 2), (opened) => opened.end())
  const queue = await declareFilled(rabbit.url, count)
  const sample = await measured({ mariadb, rabbitmq: rabbit }, count, () =>
    receive({ pool, rabbit, queue, count }, stack),
  )
  const numbers = 'select number as n from received'
  return { ...sample, faults: await wrongNumbers(pool, { numbers, last: count }) }
}

type Write = (connection: PoolConnection, message: ConsumeMessage) => Promise<unknown>

const business: Write = (connection, { content }) => connection.execute(INSERT, [numberOf(content)])
const inboxed: Write = async (connection, message) => {
  const [{ affectedRows }] = await connection.execute<ResultSetHeader>(
    'insert ignore into plain_inbox (consumer, message_id) values (?, ?)',
    ['bench', String(message.properties.messageId)],
  )
  if (affectedRows === 1) await business(connection, message)
}

/** Begin, write, commit, acknowledge. */
function byHand(write: Write): Receive {
  return ({ pool, ...scene }, stack) =>
    consumeByHand(scene, stack, async (message) => {
      const connection = await pool.getConnection()
      await connection.query('start transaction')
      await write(connection, message)
      await connection.query('commit')
      connection.release()
    })
}

const mersal: Receive = async ({ pool, rabbit, queue, count }, stack) => {
  const app = stack.use(
    new Mersal({
      name: queue,
      store: mysql({ pool, migrate: 'check' }),
      transport: rabbitmq({ url: rabbit.url }),
      receive: { concurrency: CONCURRENCY },
    }),
  )
  await handleAll(app, { count, batch: 1 }, (tx, n) => tx.execute(INSERT, [n]))()
}
