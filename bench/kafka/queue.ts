import { Admin, type BaseOptions, Consumer, type Message } from '@platformatic/kafka'
import { kafka, type KafkaOptions } from '../../src/kafka.ts'
import { idOf, newPrefix, type Road } from '../brokers/road.ts'
import type { Check } from '../check.ts'
import { numberOf } from '../messages.ts'

const HASTY: Omit<KafkaOptions, 'bootstrapServers'> = { logger: false }

/** A queue of one run, made as Mersal makes it, with 8 partitions. */
export interface KafkaQueue {
  readonly server: string
  readonly prefix: string
  readonly name: string
  readonly topic: string
}

async function declare(server: string): Promise<KafkaQueue> {
  const prefix = newPrefix()
  await using transport = kafka({ bootstrapServers: server, prefix, ...HASTY })
  await transport.subscribe('queue', [])
  return { server, prefix, name: 'queue', topic: `${prefix}.queue.queue` }
}

export const road: Road<KafkaQueue> = {
  broker: 'kafka',
  declare,
  transport: ({ server, prefix }) => kafka({ bootstrapServers: server, prefix, ...HASTY }),
}

/** How a plain client connects. */
export const plainly = ({ server }: Pick<KafkaQueue, 'server'>): BaseOptions => ({
  clientId: 'bench',
  bootstrapBrokers: [server],
})

/** Takes the topics of the run away. */
export async function remove(queue: KafkaQueue): Promise<void> {
  const admin = new Admin(plainly(queue))
  const topics = (await admin.listTopics()).filter((one) => one.startsWith(`${queue.prefix}.`))
  await admin.deleteTopics({ topics })
  await admin.close()
}

const LATEST = -1n

/** Reads everything that the topic holds, plainly. */
export async function readInto(check: Check, queue: KafkaQueue): Promise<void> {
  const consumer = new Consumer({ ...plainly(queue), groupId: `${queue.prefix}-check` })
  const ends = await consumer.listOffsets({ topics: [queue.topic], timestamp: LATEST })
  const there = (ends.get(queue.topic) ?? []).reduce((sum, end) => sum + Number(end), 0)
  if (there > 0) {
    const stream = await consumer.consume({
      topics: [queue.topic],
      mode: 'earliest',
      autocommit: false,
    })
    for await (const { value } of stream as AsyncIterable<Message>) {
      check.saw(numberOf(value))
      if (check.count === there) break
    }
    await stream.close()
  }
  await consumer.close(true)
}

export const headersOf = (number: number): Map<Buffer, Buffer> =>
  new Map(
    Object.entries({
      'mersal-id': idOf(number),
      'mersal-type': 'bench.happened',
      'content-type': 'application/json',
    }).map(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
  )
