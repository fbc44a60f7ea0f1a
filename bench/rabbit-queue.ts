import { type Channel, type ConsumeMessage, connect } from 'amqplib'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Check, createCheck, upTo } from './check.ts'
import { BODY_BYTES, type Keys, numberOf } from './messages.ts'
import { decodeBundle } from '../src/transports/rabbitmq/bundles/bundle-format.ts'
import { isBundle } from '../src/transports/rabbitmq/connection/opened.ts'

export type QueueType = 'classic' | 'quorum'

/** A durable queue of the benchmark, and a connection to look into it. */
export interface BenchQueue extends AsyncDisposable {
  readonly name: string
  /** Takes out everything that is in it. */
  readBack(keys: Keys): Promise<Check>
  /** Calls back for each message that arrives from now on. */
  consume(onBody: (body: Buffer) => void): Promise<void>
}

/**
 * Content type of several bodies in one message, without anything between them, from a hand-written
 * relay.
 */
export const BODIES_IN_ONE = 'application/x-bench-bodies'

/** The numbers of what is in one broker message. */
export function numbersIn({
  content,
  properties,
}: Pick<ConsumeMessage, 'content' | 'properties'>): number[] {
  if (isBundle({ properties })) return decodeBundle(content).map(({ body }) => numberOf(body))
  if (properties.contentType !== BODIES_IN_ONE) return [numberOf(content)]
  return Array.from({ length: Math.ceil(content.length / BODY_BYTES) }, (_, index) =>
    numberOf(content.subarray(index * BODY_BYTES)),
  )
}

let queues = 0

export async function openQueue(url: string, type: QueueType): Promise<BenchQueue> {
  const model = await connect(url, { noDelay: true })
  const channel = await model.createChannel()
  const name = `bench-${process.pid}-${++queues}`
  await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': type } })
  return {
    name,
    readBack: (keys) => readBack(channel, name, keys),
    async consume(onBody) {
      await channel.consume(name, (message) => message && onBody(message.content), { noAck: true })
    },
    async [Symbol.asyncDispose]() {
      await channel.deleteQueue(name)
      await model.close()
    },
  }
}

/**
 * The end is an empty queue and a moment in which nothing has come; so what is doubled shows, too,
 * and what is lost ends it.
 */
async function readBack(channel: Channel, queue: string, keys: Keys): Promise<Check> {
  const check = createCheck(keys)
  let before = -1
  await channel.prefetch(2000)
  const onMessage = (message: ConsumeMessage | null): void => {
    if (message === null) return
    for (const number of numbersIn(message)) check.saw(number)
    channel.ack(message)
  }
  const { consumerTag } = await channel.consume(queue, onMessage)
  for (let left = 1; left > 0 || before !== check.count; ) {
    before = check.count
    await sleep(50)
    left = (await channel.checkQueue(queue)).messageCount
  }
  await channel.cancel(consumerTag)
  return check
}

export function faultsOf(check: Check, count: number, ordered: boolean): string[] {
  return check.faults(upTo(count), { ordered })
}
