import { jetstreamManager, type JsMsg } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { nats } from '../../src/nats.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { bodyOf, numberOf } from '../messages.ts'
import {
  CONCURRENCY,
  handleAll,
  handled,
  INSERT,
  openTables,
  writeByHand,
} from '../receive/handled.ts'
import type { BenchServer } from '../server.ts'
import { declare, HASTY, idOf, type NatsQueue } from './queue.ts'

interface Scene {
  readonly pool: Pool
  readonly queue: NatsQueue
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
  await using stack = new AsyncDisposableStack()
  const pool = await openTables(postgres.url, stack)
  const queue = await declare(server.url)
  await fill(queue, count)
  return await handled({
    pool,
    count,
    servers: { postgres, nats: server },
    work: () => receive({ pool, queue, count }, stack),
  })
}

async function fill({ url, prefix, name }: NatsQueue, count: number): Promise<void> {
  await using transport = nats({ url, prefix, ...HASTY })
  const all = Array.from({ length: count }, (_, index) => ({
    id: idOf(index + 1),
    type: 'bench.happened',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(index + 1),
    to: { transport: 'default', kind: 'queue' as const, name },
  }))
  const outcomes = await Promise.all(transport.publish(all))
  if (outcomes.some(({ kind }) => kind !== 'confirmed')) throw new Error('the queue was not filled')
}

/** Begin, write, commit, acknowledge without waiting for an answer. */
function bareConsumer(inbox: boolean): Receive {
  return async ({ pool, queue: { url, stream }, count }, stack) => {
    const client = stack.adopt(await connect({ servers: url }), (opened) => opened.close())
    const manager = await jetstreamManager(client)
    // It holds as many at a time as there are handlers.
    await manager.consumers.update(stream, 'mersal', { max_ack_pending: CONCURRENCY })
    const consumer = await manager.jetstream().consumers.get(stream, 'mersal')
    const all = Promise.withResolvers<void>()
    let done = 0
    const onMessage = async (message: JsMsg): Promise<void> => {
      const { data, headers } = message
      await writeByHand(pool, numberOf(data), inbox ? headers?.get('Mersal-Id') : undefined)
      message.ack()
      if (++done === count) all.resolve()
    }
    const messages = await consumer.consume({
      max_messages: 100,
      callback: (message) => {
        onMessage(message).catch(all.reject)
      },
    })
    await all.promise
    await messages.close()
    await client.flush()
  }
}

const mersalConsumer: Receive = async ({ pool, queue: { url, prefix, name }, count }, stack) => {
  const app = stack.use(
    new Mersal({
      name,
      store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
      transport: nats({ url, prefix, ...HASTY }),
      receive: { concurrency: CONCURRENCY },
    }),
  )
  await handleAll(app, { count, batch: 1 }, (tx, n) => tx.query(INSERT, [n]))()
}
