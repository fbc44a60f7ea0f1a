import { jetstreamManager, type JsMsg } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import type { Receive, Receiving } from '../brokers/receiving.ts'
import { idOf } from '../brokers/road.ts'
import { bodyOf, numberOf } from '../messages.ts'
import { CONCURRENCY, writeByHand } from '../receive/handled.ts'
import { type NatsQueue, road } from './queue.ts'

async function fill(queue: NatsQueue, count: number): Promise<void> {
  await using transport = road.transport(queue)
  const all = Array.from({ length: count }, (_, index) => ({
    id: idOf(index + 1),
    type: 'bench.happened',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(index + 1),
    to: { transport: 'default', kind: 'queue' as const, name: queue.name },
  }))
  const outcomes = await Promise.all(transport.publish(all))
  if (outcomes.some(({ kind }) => kind !== 'confirmed')) throw new Error('the queue was not filled')
}

/** Begin, write, commit, acknowledge without waiting for an answer. */
function bareConsumer(inbox: boolean): Receive<NatsQueue> {
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

export const receiving: Receiving<NatsQueue> = { road, fill, byHand: bareConsumer }
