import { Consumer, type Message } from '@platformatic/kafka'
import type { Receive, Receiving } from '../brokers/receiving.ts'
import { numberOf } from '../messages.ts'
import { CONCURRENCY, writeByHand } from '../receive/handled.ts'
import { bare } from './publish.ts'
import { type KafkaQueue, plainly, remove, road } from './queue.ts'

/** Messages between two commits. */
const BETWEEN_COMMITS = 100

/** Begin, write, commit; ten at a time. What was handled is committed once in a hundred messages. */
function bareConsumer(inbox: boolean): Receive<KafkaQueue> {
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

export const receiving: Receiving<KafkaQueue> = { road, fill: bare, byHand: bareConsumer, remove }
