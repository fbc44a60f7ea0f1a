import { ProduceAcks, Producer } from '@platformatic/kafka'
import { type Publish, type Publishing, windows } from '../brokers/publishing.ts'
import { createCheck, upTo } from '../check.ts'
import { bodyOf, thousandKeys } from '../messages.ts'
import { headersOf, type KafkaQueue, plainly, readInto, remove, road } from './queue.ts'

export const bare: Publish<KafkaQueue> = async (queue, count) => {
  const { topic } = queue
  const producer = new Producer({ ...plainly(queue), idempotent: true, acks: ProduceAcks.ALL })
  for (const numbers of windows(count)) {
    const messages = numbers.map((number) => ({
      topic,
      key: Buffer.from(thousandKeys.of(number) as string),
      value: bodyOf(number),
      headers: headersOf(number),
    }))
    await producer.send({ messages })
  }
  await producer.close()
}

async function faultsIn(queue: KafkaQueue, count: number): Promise<string[]> {
  const check = createCheck(thousandKeys)
  await readInto(check, queue)
  await remove(queue)
  return check.faults(upTo(count))
}

/** Each message with its key. */
export const publishing: Publishing<KafkaQueue> = {
  road,
  bare: { name: 'bare publishing, idempotent, acks of all, 500 in each call', publish: bare },
  keyed: true,
  faultsIn,
}
