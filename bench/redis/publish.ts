import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { redis } from '../../src/redis.ts'
import { createCheck, upTo } from '../check.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, cpuSeconds, type Sample } from '../measure.ts'
import { bodyOf, numberOf, thousandKeys } from '../messages.ts'
import type { BenchServer } from '../server.ts'
import { ownCpu } from '../sqlite/folder.ts'
import { bodiesOf, declare, fieldsOf, HASTY, idOf, openClient, type RedisQueue } from './queue.ts'

/** Messages without an answer at one time, in every candidate. */
const WINDOW = 500

/** Publishes messages 1 to `count`; keeps the order of their numbers. */
type Publish = (queue: RedisQueue, count: number) => Promise<void>

export function publishing(effort: Effort, server: BenchServer): Candidate[] {
  const count = amount(effort, 60_000, 10_000)
  const candidate = (name: string, publish: Publish): Candidate => ({
    name,
    run: () => run(server, publish, count),
  })
  return [
    candidate('bare XADD, 500 in each pipeline', bare),
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
  const cpu = { node: own() * per100k, redis: (cpuSeconds(server.pid) - before) * per100k }
  return { rate: count / seconds, cpu, faults: await faultsIn(queue, count) }
}

const bare: Publish = async ({ url, stream }, count) => {
  const client = await openClient(url)
  // What is sent in one turn of the loop travels together.
  for (let first = 1; first <= count; first += WINDOW)
    await Promise.all(
      numbersFrom(first, count).map((number) =>
        client.sendCommand(['XADD', stream, '*', ...fieldsOf(number)]),
      ),
    )
  await client.close()
}

const numbersFrom = (first: number, count: number): number[] =>
  Array.from({ length: Math.min(WINDOW, count - first + 1) }, (_, index) => first + index)

const mersal: Publish = async ({ url, prefix, name }, count) => {
  await using transport = redis({ url, prefix, ...HASTY })
  const message = (number: number): OutgoingMessage => ({
    id: idOf(number),
    type: 'bench.happened',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(number),
    to: { transport: 'default', kind: 'queue', name },
  })
  for (let first = 1; first <= count; first += WINDOW) {
    const outcomes = await Promise.all(transport.publish(numbersFrom(first, count).map(message)))
    const bad = outcomes.find(({ kind }) => kind !== 'confirmed')
    if (bad !== undefined) throw new Error('a message was not confirmed', { cause: bad })
  }
}

/** Reads everything that the stream holds, plainly, and takes it away. */
async function faultsIn({ url, stream }: RedisQueue, count: number): Promise<string[]> {
  const client = await openClient(url)
  const check = createCheck(thousandKeys)
  for (const body of await bodiesOf(client, stream)) check.saw(numberOf(Buffer.from(body)))
  await client.del(stream)
  await client.close()
  return check.faults(upTo(count))
}
