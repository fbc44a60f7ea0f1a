import { connect, type ConsumeMessage } from 'amqplib'
import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { bodyOf, numberOf } from '../messages.ts'
import { mersalProperties } from '../relays/bare.ts'
import type { BenchServer } from '../server.ts'
import {
  AHEAD,
  ALONE,
  type Amounts,
  CONCURRENCY,
  handleAll,
  handled,
  INSERT,
  openTables,
  TOGETHER,
  writeByHand,
} from './handled.ts'

interface Scene {
  readonly pool: Pool
  readonly rabbit: BenchServer
  readonly queue: string
  readonly count: number
}

/** Handles the messages of a queue, and resolves when all have been handled. */
type Receive = (scene: Scene, stack: AsyncDisposableStack) => Promise<void>

export function fromRabbit(
  effort: Effort,
  postgres: BenchServer,
  rabbit: BenchServer,
  together: boolean,
): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const candidate = (name: string, receive: Receive): Candidate => ({
    name,
    run: () => run({ postgres, rabbit, count }, receive),
  })
  return [
    candidate('consumer with a business row', bareConsumer(false)),
    candidate('consumer with an inbox row and a business row', bareConsumer(true)),
    candidate('Mersal', mersalConsumer(ALONE)),
    candidate('Mersal, twice as many fetched as handled', mersalConsumer(AHEAD)),
    ...(together
      ? [candidate('Mersal, up to 25 in each of 4 transactions', mersalConsumer(TOGETHER))]
      : []),
  ]
}

let queues = 0

async function run(
  { postgres, rabbit, count }: { postgres: BenchServer; rabbit: BenchServer; count: number },
  receive: Receive,
): Promise<Sample> {
  await using stack = new AsyncDisposableStack()
  const pool = await openTables(postgres.url, stack)
  const queue = await declareFilled(rabbit.url, count)
  const scene = { pool, rabbit, queue, count }
  return await handled({
    pool,
    count,
    servers: { postgres, rabbitmq: rabbit },
    work: () => receive(scene, stack),
  })
}

/** The name of a queue as Mersal declares it, with this number of messages. */
export async function declareFilled(url: string, count: number): Promise<string> {
  const queue = `bench-receive-${process.pid}-${++queues}`
  await using declaring = rabbitmq({ url })
  await declaring.subscribe(queue, [])
  await fill(url, queue, count)
  return queue
}

async function fill(url: string, queue: string, count: number): Promise<void> {
  const model = await connect(url)
  const channel = await model.createConfirmChannel()
  for (let number = 1; number <= count; number++)
    channel.publish('', queue, bodyOf(number), mersalProperties(number))
  await channel.waitForConfirms()
  await model.close()
}

/** Hand-written: handles each message, then acknowledges it, until all have been. */
export async function consumeByHand(
  { rabbit, queue, count }: Pick<Scene, 'rabbit' | 'queue' | 'count'>,
  stack: AsyncDisposableStack,
  handle: (message: ConsumeMessage) => Promise<void>,
): Promise<void> {
  const model = stack.adopt(await connect(rabbit.url, { noDelay: true }), (opened) =>
    opened.close(),
  )
  const channel = await model.createChannel()
  await channel.prefetch(CONCURRENCY)
  const all = Promise.withResolvers<void>()
  let done = 0
  const onMessage = async (message: ConsumeMessage): Promise<void> => {
    await handle(message)
    channel.ack(message)
    if (++done === count) all.resolve()
  }
  await channel.consume(queue, (message) => {
    if (message !== null) onMessage(message).catch(all.reject)
  })
  await all.promise
}

function bareConsumer(inbox: boolean): Receive {
  return ({ pool, ...scene }, stack) =>
    consumeByHand(scene, stack, ({ content, properties }) =>
      writeByHand(pool, numberOf(content), inbox ? properties.messageId : undefined),
    )
}

function mersalConsumer({ concurrency, batch, ...fetching }: Amounts): Receive {
  return async ({ pool, rabbit, queue, count }, stack) => {
    const app = stack.use(
      new Mersal({
        name: queue,
        store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
        transport: rabbitmq({ url: rabbit.url, ...fetching }),
        receive: { concurrency },
      }),
    )
    await handleAll(app, { count, batch }, (tx, n) => tx.query(INSERT, [n]))()
  }
}
