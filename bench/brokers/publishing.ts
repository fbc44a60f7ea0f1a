import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, cpuSeconds, type Sample } from '../measure.ts'
import { bodyOf, thousandKeys } from '../messages.ts'
import type { BenchServer } from '../server.ts'
import { ownCpu } from '../sqlite/folder.ts'
import { idOf, type Road, type RunQueue } from './road.ts'

/** Messages without an answer at one time, in every candidate. */
const WINDOW = 500

/** Publishes messages 1 to `count`; keeps the order of their numbers. */
export type Publish<Queue> = (queue: Queue, count: number) => Promise<void>

export interface Publishing<Queue extends RunQueue> {
  readonly road: Road<Queue>
  readonly bare: { readonly name: string; readonly publish: Publish<Queue> }
  /** Messages have keys. Default false. */
  readonly keyed?: boolean
  /** Reads everything that the queue holds, plainly, and takes it away. */
  readonly faultsIn: (queue: Queue, count: number) => Promise<string[]>
}

/** Bare publishing, and the same through Mersal. */
export function publishingCandidates<Queue extends RunQueue>(
  publishing: Publishing<Queue>,
  effort: Effort,
  server: BenchServer,
): Candidate[] {
  const count = amount(effort, 60_000, 10_000)
  const candidate = (name: string, publish: Publish<Queue>): Candidate => ({
    name,
    run: () => run(publishing, server, publish, count),
  })
  const { bare } = publishing
  return [
    candidate(bare.name, bare.publish),
    candidate('Mersal, 500 messages in each call', through(publishing)),
  ]
}

async function run<Queue extends RunQueue>(
  { road, faultsIn }: Publishing<Queue>,
  server: BenchServer,
  publish: Publish<Queue>,
  count: number,
): Promise<Sample> {
  const queue = await road.declare(server.url)
  const own = ownCpu()
  const before = cpuSeconds(server.pid)
  const started = performance.now()
  await publish(queue, count)
  const seconds = (performance.now() - started) / 1000
  const per100k = 100_000 / count
  const cpu = { node: own() * per100k, [road.broker]: (cpuSeconds(server.pid) - before) * per100k }
  return { rate: count / seconds, cpu, faults: await faultsIn(queue, count) }
}

/** The numbers from 1 to `count`, as many in one part as may be without an answer. */
export function* windows(count: number): Generator<number[]> {
  for (let first = 1; first <= count; first += WINDOW)
    yield Array.from({ length: Math.min(WINDOW, count - first + 1) }, (_, index) => first + index)
}

function messageTo(name: string, number: number, keyed: boolean): OutgoingMessage {
  const message = {
    id: idOf(number),
    type: 'bench.happened',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(number),
    to: { transport: 'default', kind: 'queue' as const, name },
  }
  return keyed ? { ...message, partitionKey: thousandKeys.of(number) as string } : message
}

function through<Queue extends RunQueue>({
  road,
  keyed = false,
}: Publishing<Queue>): Publish<Queue> {
  return async (queue, count) => {
    await using transport = road.transport(queue)
    for (const numbers of windows(count)) {
      const messages = numbers.map((number) => messageTo(queue.name, number, keyed))
      const outcomes = await Promise.all(transport.publish(messages))
      const bad = outcomes.find(({ kind }) => kind !== 'confirmed')
      if (bad !== undefined) throw new Error('a message was not confirmed', { cause: bad })
    }
  }
}
