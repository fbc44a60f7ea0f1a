import { Consumer, type Message } from '@platformatic/kafka'
import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { kafka } from '../../src/kafka.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { numberOf } from '../messages.ts'
import {
  CONCURRENCY,
  handleAll,
  handled,
  INSERT,
  openTables,
  writeByHand,
} from '../receive/handled.ts'
import type { BenchServer } from '../server.ts'
import { bare } from './publish.ts'
import { declare, HASTY, type KafkaQueue, plainly, remove } from './queue.ts'

interface Scene {
  readonly pool: Pool
  readonly queue: KafkaQueue
  readonly count: number
}

/** Handles the messages of a queue, and resolves when all have been handled. */
type Receive = (scene: Scene, stack: AsyncDisposableStack) => Promise<void>

export function receiving(effort: Effort, postgres: BenchServer, server: BenchServer): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const candidate = (name: string, receive: Receive): Candidate => ({
    name,
    run: () => run({ postgres, server, count }, receive),
  })
  return [
    candidate('consumer with a business row', bareConsumer(false)),
    candidate('consumer with an inbox row and a business row', bareConsumer(true)),
    candidate('Mersal', mersalConsumer),
  ]
}

async function run(
  { postgres, server, count }: { postgres: BenchServer; server: BenchServer; count: number },
  receive: Receive,
): Promise<Sample> {
  const queue = await declare(server.url)
  await bare(queue, count)
  const sample = await withTables(postgres, (pool, stack) =>
    handled({
      pool,
      count,
      servers: { postgres, kafka: server },
      work: () => receive({ pool, queue, count }, stack),
    }),
  )
  await remove(queue)
  return sample
}

async function withTables(
  postgres: BenchServer,
  work: (pool: Pool, stack: AsyncDisposableStack) => Promise<Sample>,
): Promise<Sample> {
  await using stack = new AsyncDisposableStack()
  return await work(await openTables(postgres.url, stack), stack)
}

/** Messages between two commits. */
const BETWEEN_COMMITS = 100

/** Begin, write, commit; ten at a time. What was handled is committed once in a hundred messages. */
function bareConsumer(inbox: boolean): Receive {
  return async ({ pool, queue, count }, stack) => {
    const consumer = new Consumer({ ...plainly(queue), groupId: `${queue.prefix}-bench` })
    stack.defer(() => consumer.close(true))
    const inHand = new Set<Promise<void>>()
    const last = new Map<number, Message>()
    const handle = async ({ value, headers }: Message): Promise<void> => {
      const id = inbox ? String(headers.get(idHeader(headers))) : undefined
      await writeByHand(pool, numberOf(value), id)
    }
    const stream = await consumer.consume({
      topics: [queue.topic],
      mode: 'earliest',
      autocommit: false,
    })
    let taken = 0
    for await (const message of stream as AsyncIterable<Message>) {
      if (inHand.size === CONCURRENCY) await Promise.race(inHand)
      const work = handle(message).finally(() => inHand.delete(work))
      inHand.add(work)
      last.set(message.partition, message)
      if (++taken % BETWEEN_COMMITS === 0 || taken === count) {
        await Promise.all(inHand)
        await commit(consumer, last)
      }
      if (taken === count) break
    }
    await stream.close()
  }
}

/** Keys of the headers are bytes, each an object of its own. */
const idHeader = (headers: Message['headers']): Buffer =>
  [...headers.keys()].find((name) => name.toString() === 'mersal-id') as Buffer

async function commit(consumer: Consumer, last: Map<number, Message>): Promise<void> {
  const offsets = [...last.values()].map(({ topic, partition, offset, leaderEpoch }) => {
    return { topic, partition, offset: offset + 1n, leaderEpoch }
  })
  last.clear()
  await consumer.commit({ offsets })
}

const mersalConsumer: Receive = async ({ pool, queue: { server, prefix, name }, count }, stack) => {
  const app = stack.use(
    new Mersal({
      name,
      store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
      transport: kafka({ bootstrapServers: server, prefix, ...HASTY }),
      receive: { concurrency: CONCURRENCY },
    }),
  )
  await handleAll(app, { count, batch: 1 }, (tx, n) => tx.query(INSERT, [n]))()
}
