import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { Fetcher } from '../../../../src/transports/kafka/consume/fetcher.ts'
import { Partition } from '../../../../src/transports/kafka/consume/partition.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

/** Two brokers without messages; which of them leads the partition is up to the test. */
function brokers() {
  const asked: number[] = []
  const state: {
    leader: number
    id: string
    readonly asked: number[]
    leaderOf: ((partition: number) => Promise<number>) | undefined
  } = { leader: 1, id: 'first', asked, leaderOf: undefined }
  const connection = (broker: number) => ({
    send(...args: unknown[]) {
      asked.push(broker)
      const answer = args.at(-1) as (error: null, response: object) => void
      setTimeout(() => answer(null, { responses: [] }), 5)
    },
  })
  const info = () => ({ id: state.id, partitions: [{ leader: state.leader, copies: 2 }] })
  const cluster = {
    leader: (_: string, partition: number) =>
      state.leaderOf?.(partition) ?? Promise.resolve(state.leader),
    topics: ([topic]: string[]) => Promise.resolve(new Map([[topic, info()]])),
    to: (broker: number) => Promise.resolve(connection(broker)),
    askLeader: () => Promise.resolve({ topics: [{ partitions: [{ offset: 0n }] }] }),
    drop: () => {},
  } as unknown as Cluster
  const topology = {
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
  } as Topology
  return { state, topology }
}

function fetcherOf(topology: Topology, partitions: readonly Partition[]) {
  const stopping = new AbortController()
  const failures: unknown[] = []
  const fetcher = new Fetcher({
    topology,
    settings: kafkaSettings({ bootstrapServers: 'broker', logger: false }),
    queue: 'q',
    partitions: new Map(partitions.map((one) => [`${one.topic} ${one.partition}`, one])),
    stopping: stopping.signal,
    arrived: () => {},
    failed: (error) => void failures.push(error),
  })
  return { fetcher, failures, stop: () => stopping.abort() }
}

describe('fetching from Kafka', () => {
  test('goes on at another broker when a partition has moved there, without anybody who tells', async () => {
    const { state, topology } = brokers()
    const partition = new Partition({ topic: 't', partition: 0 }, 0, null)
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
    const partition = new Partition({ topic: 't', partition: 0 }, 5, null, 'first')
    const { fetcher, failures, stop } = fetcherOf(topology, [partition])
    await fetcher.begin()
    await wait(20)
    expect([partition.next, partition.isDirty]).toEqual([5, false])
    state.id = 'second'
    await wait(50)
    expect([partition.next, partition.topicId, partition.isDirty]).toEqual([0, 'second', true])
    stop()
    expect(failures).toEqual([])
  })

  test('does not fall asleep when something is wanted just as its last look ends', async () => {
    const { state, topology } = brokers()
    const [stays, moves] = [0, 1].map(
      (partition) => new Partition({ topic: 't', partition }, 0, null),
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
})
