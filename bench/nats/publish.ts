import { type ConsumerMessages, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { type Publish, type Publishing, windows } from '../brokers/publishing.ts'
import { idOf } from '../brokers/road.ts'
import { createCheck, upTo } from '../check.ts'
import { bodyOf, numberOf, thousandKeys } from '../messages.ts'
import { type NatsQueue, road } from './queue.ts'

const bare: Publish<NatsQueue> = async ({ url, subject }, count) => {
  const client = await connect({ servers: url })
  const stream = jetstream(client)
  for (const numbers of windows(count))
    await Promise.all(
      numbers.map((number) =>
        stream.publish(subject, bodyOf(number), {
          msgID: idOf(number),
          headers: properties(number),
        }),
      ),
    )
  await client.close()
}

/** As many headers as a message of Mersal has. */
function properties(number: number) {
  const table = headers()
  table.set('Mersal-Id', idOf(number))
  table.set('Mersal-Type', 'bench.happened')
  table.set('content-type', 'application/json')
  return table
}

/** Reads everything that the stream holds, plainly. */
async function faultsIn({ url, stream }: NatsQueue, count: number): Promise<string[]> {
  const client: NatsConnection = await connect({ servers: url })
  const manager = await jetstreamManager(client)
  const { state } = await manager.streams.info(stream)
  const check = createCheck(thousandKeys)
  const consumer = await manager.jetstream().consumers.get(stream, 'mersal')
  const messages: ConsumerMessages = await consumer.consume({ max_messages: 1000 })
  if (state.messages > 0)
    for await (const message of messages) {
      check.saw(numberOf(message.data))
      message.ack()
      if (check.count === state.messages) break
    }
  await client.close()
  return check.faults(upTo(count))
}

/** With acks. */
export const publishing: Publishing<NatsQueue> = {
  road,
  bare: { name: 'bare publishing with acks', publish: bare },
  faultsIn,
}
