import { type ConsumerMessages, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { nats } from '../../src/nats.ts'
import { createCheck, upTo } from '../check.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, cpuSeconds, type Sample } from '../measure.ts'
import { bodyOf, numberOf, thousandKeys } from '../messages.ts'
import { ownCpu } from '../sqlite/folder.ts'
import type { BenchServer } from '../server.ts'
import { declare, HASTY, idOf, type NatsQueue } from './queue.ts'

/** Messages without an ack at one time, in every candidate. */
const WINDOW = 500

/** Publishes messages 1 to `count` with acks; keeps the order of their numbers. */
type Publish = (queue: NatsQueue, count: number) => Promise<void>

export function publishing(effort: Effort, server: BenchServer): Candidate[] {
  const count = amount(effort, 60_000, 10_000)
  const candidate = (name: string, publish: Publish): Candidate => ({
    name,
    run: () => run(server, publish, count),
  })
  return [
    candidate('bare publishing with acks', bare),
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
  const cpu = { node: own() * per100k, nats: (cpuSeconds(server.pid) - before) * per100k }
  return { rate: count / seconds, cpu, faults: await faultsIn(queue, count) }
}

const bare: Publish = async ({ url, subject }, count) => {
  const client = await connect({ servers: url })
  const stream = jetstream(client)
  for (let first = 1; first <= count; first += WINDOW)
    await Promise.all(
      numbersFrom(first, count).map((number) =>
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

const numbersFrom = (first: number, count: number): number[] =>
  Array.from({ length: Math.min(WINDOW, count - first + 1) }, (_, index) => first + index)

const mersal: Publish = async ({ url, prefix, name }, count) => {
  await using transport = nats({ url, prefix, ...HASTY })
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
