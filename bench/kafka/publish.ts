import { ProduceAcks, Producer } from '@platformatic/kafka'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { kafka } from '../../src/kafka.ts'
import { createCheck, upTo } from '../check.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, cpuSeconds, type Sample } from '../measure.ts'
import { bodyOf, thousandKeys } from '../messages.ts'
import type { BenchServer } from '../server.ts'
import { ownCpu } from '../sqlite/folder.ts'
import {
  declare,
  HASTY,
  headersOf,
  idOf,
  type KafkaQueue,
  plainly,
  readInto,
  remove,
} from './queue.ts'

/** Messages without an answer at one time, in every candidate. */
const WINDOW = 500

/** Publishes messages 1 to `count`, each with its key; keeps the order of their numbers. */
export type Publish = (queue: KafkaQueue, count: number) => Promise<void>

export function publishing(effort: Effort, server: BenchServer): Candidate[] {
  const count = amount(effort, 60_000, 10_000)
  const candidate = (name: string, publish: Publish): Candidate => ({
    name,
    run: () => run(server, publish, count),
  })
  return [
    candidate('bare publishing, idempotent, acks of all, 500 in each call', bare),
    candidate('Mersal, 500 messages in each call', mersal),
  ]
}

async function run(server: BenchServer, publish: Publish, count: number): Promise<Sample> {
  const queue = await declare(server.url)
  const own = ownCpu()
  const before = cpuSeconds(server.pid)
  const started = performance.now()
  await publish(queue, count)
  const seconds = (performance.now() - started) / 1000
  const per100k = 100_000 / count
  const cpu = { node: own() * per100k, kafka: (cpuSeconds(server.pid) - before) * per100k }
  const check = createCheck(thousandKeys)
  await readInto(check, queue)
  await remove(queue)
  return { rate: count / seconds, cpu, faults: check.faults(upTo(count)) }
}

const keyOf = (number: number): string => thousandKeys.of(number) as string

export const bare: Publish = async (queue, count) => {
  const { topic } = queue
  const producer = new Producer({ ...plainly(queue), idempotent: true, acks: ProduceAcks.ALL })
  for (let first = 1; first <= count; first += WINDOW) {
    const messages = numbersFrom(first, count).map((number) => ({
      topic,
      key: Buffer.from(keyOf(number)),
      value: bodyOf(number),
      headers: headersOf(number),
    }))
    await producer.send({ messages })
  }
  await producer.close()
}

const numbersFrom = (first: number, count: number): number[] =>
  Array.from({ length: Math.min(WINDOW, count - first + 1) }, (_, index) => first + index)

const mersal: Publish = async ({ server, prefix, name }, count) => {
  await using transport = kafka({ bootstrapServers: server, prefix, ...HASTY })
  const message = (number: number): OutgoingMessage => ({
    id: idOf(number),
    type: 'bench.happened',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(number),
    partitionKey: keyOf(number),
    to: { transport: 'default', kind: 'queue', name },
  })
  for (let first = 1; first <= count; first += WINDOW) {
    const outcomes = await Promise.all(transport.publish(numbersFrom(first, count).map(message)))
    const bad = outcomes.find(({ kind }) => kind !== 'confirmed')
    if (bad !== undefined) throw new Error('a message was not confirmed', { cause: bad })
  }
}
