import { setTimeout as wait } from 'node:timers/promises'
import { ResponseError } from '@platformatic/kafka'
import { describe, expect, test } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { keyOf } from '../../../../src/transports/kafka/connection/records.ts'
import { Fetcher } from '../../../../src/transports/kafka/consume/fetcher.ts'
import { Partition } from '../../../../src/transports/kafka/consume/partition.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import { toHeaders } from '../../../../src/transports/kafka/publish/wire.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

interface Answer {
  readonly partitionIndex: number
  readonly errorCode: number
  readonly records: readonly object[] | null
}

/** One message at this offset, or an error. */
function answerOf(partitionIndex: number, offset: number, errorCode = 0): Answer {
  const headers = [...toHeaders({ id: `${offset}`, type: 't', headers: {} })]
  const value = Buffer.from('{}')
  const batch = {
    firstOffset: BigInt(offset),
    firstTimestamp: 0n,
    lastOffsetDelta: 0,
    attributes: 0,
    records: [{ offsetDelta: 0, timestampDelta: 0n, key: null, value, headers }],
  }
  return { partitionIndex, errorCode, records: errorCode === 0 ? [batch] : null }
}

/** Two brokers without messages; which of them leads the partition is up to the test. */
function brokers() {
  const asked: number[] = []
  const state: {
    leader: number
    id: string
    readonly asked: number[]
    leaderOf: ((partition: number) => Promise<number>) | undefined
    answer: (broker: number) => Promise<readonly Answer[]>
    first: bigint
  } = {
    leader: 1,
    id: 'first',
    asked,
    leaderOf: undefined,
    answer: () => wait(5, []),
    first: 0n,
  }
  const connection = (broker: number) => ({
    send(...args: unknown[]) {
      asked.push(broker)
      const answer = args.at(-1) as (error: Error | null, response: object) => void
      const { id: topicId } = state
      void state.answer(broker).then((partitions) => {
        const response = { errorCode: 0, responses: [{ topicId, partitions }] }
        const bad = partitions.filter(({ errorCode }) => errorCode !== 0)
        const errors = Object.fromEntries(
          bad.map(({ errorCode }, index) => [`/${index}`, [errorCode, null]]),
        )
        // The client makes one error of all, even if only one partition has one.
        if (bad.length > 0) answer(new ResponseError(1, 17, errors as never, response), response)
        else answer(null, response)
      })
    },
  })
  const info = () => ({ id: state.id, partitions: [{ leader: state.leader, copies: 2 }] })
  const cluster = {
    leader: (_: string, partition: number) =>
      state.leaderOf?.(partition) ?? Promise.resolve(state.leader),
    topics: ([topic]: string[]) => Promise.resolve(new Map([[topic, info()]])),
    to: (broker: number) => Promise.resolve(connection(broker)),
    askLeader: () => Promise.resolve({ topics: [{ partitions: [{ offset: state.first }] }] }),
    drop: () => {},
    forget: () => {},
  } as unknown as Cluster
  const topology = {
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
  } as Topology
  return { state, topology }
}

function fetcherOf(topology: Topology, partitions: readonly Partition[]) {
  const stopping = new AbortController()
  const failures: unknown[] = []
  const held = new Map(partitions.map((one) => [keyOf(one), one]))
  const fetcher = new Fetcher({
    topology,
    settings: kafkaSettings({ bootstrapServers: 'broker', logger: false }),
    queue: 'q',
    partitions: held,
    stopping: stopping.signal,
    arrived: () => {},
    failed: (error) => void failures.push(error),
  })
  return { fetcher, failures, held, stop: () => stopping.abort() }
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await wait(5)
}

describe('fetching from Kafka', () => {
  test('goes on at another broker when a partition has moved there, without anybody who tells', async () => {
    const { state, topology } = brokers()
    const partition = new Partition({ topic: 't', partition: 0 }, 'first', 0, null)
    const { fetcher, failures, stop } = fetcherOf(topology, [partition])
    await fetcher.begin()
    await wait(20)
    expect(new Set(state.asked)).toEqual(new Set([1]))
    state.leader = 2
    await wait(50)
    expect(state.asked.at(-1)).toBe(2)
    stop()
    expect(failures).toEqual([])
  })

  test('begins anew where a topic was deleted and made again: its offsets are other ones', async () => {
    const { state, topology } = brokers()
    const partition = new Partition({ topic: 't', partition: 0 }, 'first', 5, null)
    const { fetcher, failures, held, stop } = fetcherOf(topology, [partition])
    await fetcher.begin()
    await wait(20)
    expect([partition.next, partition.isDirty]).toEqual([5, false])
    state.id = 'second'
    await until(() => held.get('t 0') !== partition)
    const other = held.get('t 0')
    expect([other?.next, other?.topicId, other?.isDirty]).toEqual([0, 'second', true])
    expect(partition.lost.aborted).toBe(true)
    stop()
    expect(failures).toEqual([])
  })

  test('does not fall asleep when something is wanted just as its last look ends', async () => {
    const { state, topology } = brokers()
    const [stays, moves] = [0, 1].map(
      (partition) => new Partition({ topic: 't', partition }, 'first', 0, null),
    ) as [Partition, Partition]
    const { fetcher, failures, stop } = fetcherOf(topology, [stays, moves])
    await fetcher.begin()
    await wait(20)
    stays.isLeaving = true
    state.leaderOf = async (partition) => {
      if (partition === 0) return 1
      // It was looked at and wanted nothing. Now it does, while broker 1 has nothing else to fetch.
      stays.isLeaving = false
      state.leaderOf = undefined
      const beginning = fetcher.begin()
      moves.isLeaving = true
      await beginning
      return 2
    }
    await wait(50)
    state.asked.length = 0
    await wait(50)
    expect(state.asked).toContain(1)
    stop()
    expect(failures).toEqual([])
  })

  test('takes no answer for a topic that was made again meanwhile', async () => {
    const { state, topology } = brokers()
    const partition = new Partition({ topic: 't', partition: 0 }, 'first', 5, null)
    const { fetcher, held, stop } = fetcherOf(topology, [partition])
    const late = Promise.withResolvers<void>()
    state.answer = async (broker) => {
      if (broker === 2) return wait(5, [])
      await late.promise
      return [answerOf(0, 5)]
    }
    await fetcher.begin()
    await until(() => state.asked.includes(1))
    state.leader = 2
    state.id = 'second'
    await fetcher.begin()
    await until(() => state.asked.includes(2))
    late.resolve()
    await wait(20)
    stop()
    const other = held.get('t 0')
    expect([other?.topicId, other?.next, [...(other?.due(1) ?? [])]]).toEqual(['second', 0, []])
  })

  test('reads the other partitions while one has no leader', async () => {
    const { state, topology } = brokers()
    const [without, other] = [0, 1].map(
      (partition) => new Partition({ topic: 't', partition }, 'first', 0, null),
    ) as [Partition, Partition]
    const { fetcher, failures, stop } = fetcherOf(topology, [without, other])
    const problem = new Error('no leader')
    state.leaderOf = (partition) => (partition === 0 ? Promise.reject(problem) : Promise.resolve(1))
    state.answer = () => wait(5, [answerOf(1, other.next)])
    await fetcher.begin()
    await until(() => other.next > 20)
    // The other one is not asked for again at once, and is still known to be in trouble.
    expect(new Set(failures)).toEqual(new Set([problem]))
    expect(failures.length).toBeLessThan(10)
    expect(fetcher.hasTrouble).toBe(true)
    state.leaderOf = undefined
    state.answer = () => wait(5, [answerOf(0, without.next)])
    await until(() => without.next > 0)
    stop()
    expect(fetcher.hasTrouble).toBe(false)
  })

  test('keeps what the other partitions answer when one answers with an error that lasts', async () => {
    const { state, topology } = brokers()
    const [bad, good] = [0, 1].map(
      (partition) => new Partition({ topic: 't', partition }, 'first', 0, null),
    ) as [Partition, Partition]
    const { fetcher, failures, stop } = fetcherOf(topology, [bad, good])
    const KAFKA_STORAGE_ERROR = 56
    state.answer = () => wait(5, [answerOf(0, 0, KAFKA_STORAGE_ERROR), answerOf(1, good.next)])
    await fetcher.begin()
    await until(() => good.next > 20)
    stop()
    expect([bad.next, fetcher.hasTrouble]).toEqual([0, true])
    expect(failures[0]).toMatchObject({ apiCode: KAFKA_STORAGE_ERROR })
    expect(failures.length).toBeLessThan(10)
  })

  test.each([
    { what: 'the log lost its beginning', first: 9n, next: 9, kept: [0], isLost: false },
    { what: 'the log was cut', first: 0n, next: 0, kept: [], isLost: true },
  ])('goes on after $what', async ({ first, next, kept, isLost }) => {
    const { state, topology } = brokers()
    const partition = new Partition({ topic: 't', partition: 0 }, 'first', 0, null)
    const { fetcher, held, stop } = fetcherOf(topology, [partition])
    state.first = first
    const answers = [answerOf(0, 0), answerOf(0, 0, 1)]
    state.answer = () => wait(5, answers.splice(0, 1))
    await fetcher.begin()
    await until(() => answers.length === 0 && held.get('t 0')?.next === next)
    stop()
    const found = held.get('t 0') as Partition
    expect([found.next, [...found.due(1)].map(({ offset }) => offset)]).toEqual([next, kept])
    expect(partition.lost.aborted).toBe(isLost)
  })
})
