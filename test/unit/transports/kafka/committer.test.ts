import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { Committer } from '../../../../src/transports/kafka/consume/committer.ts'
import type { Membership } from '../../../../src/transports/kafka/consume/membership.ts'
import { decodeLedger } from '../../../../src/transports/kafka/consume/ledger.ts'
import { Partition, take } from '../../../../src/transports/kafka/consume/partition.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import { toHeaders } from '../../../../src/transports/kafka/publish/wire.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

/** Longer than one round of deleting. */
const ROUND_MS = 13_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function partitionOf(topic: string): Partition {
  const partition = new Partition({ topic, partition: 0 }, 'first', 0, null)
  const headers = [...toHeaders({ id: 'i', type: 't', headers: {} })]
  const value = Buffer.from('{}')
  for (let offset = 0; offset < 10; offset++)
    partition.add([{ offset, timestamp: 0, key: null, value, headers }], offset + 1)
  return partition
}

function handleTo(partition: Partition, end: number): void {
  for (const entry of partition.due(Date.now())) {
    if (entry.offset >= end) break
    take(entry)
    partition.done(entry)
  }
}

interface Committed {
  readonly name: string
  readonly partitions: readonly { readonly committedMetadata: string }[]
}

/** A committer over a cluster in which the topics have these ids. */
function committerOf(partitions: readonly Partition[], ids: Map<string, string>) {
  const state = {
    answer: (): Promise<void> => Promise.resolve(),
    committed: [] as (readonly Committed[])[],
    purged: [] as (readonly [string, number])[],
  }
  const cluster = {
    askGroup: (...given: unknown[]) => {
      state.committed.push(given.at(-1) as readonly Committed[])
      return state.answer()
    },
    topics: ([topic]: readonly [string]) => {
      const id = ids.get(topic)
      return Promise.resolve(new Map(id === undefined ? [] : [[topic, { id, partitions: [] }]]))
    },
    forget: () => {},
  } as unknown as Cluster
  const topology = {
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
    purge: (_cluster: Cluster, { topic }: Partition, offset: number) => {
      state.purged.push([topic, offset])
      return Promise.resolve()
    },
  } as unknown as Topology
  const closing = new AbortController()
  const committer = new Committer({
    topology,
    settings: kafkaSettings({ bootstrapServers: 'b', logger: false }),
    queue: 'q',
    partitions: new Map(partitions.map((one) => [one.topic, one])),
    membership: { group: 'q', id: 'member', epoch: 1 } as Membership,
    closing: closing.signal,
    failed: () => {},
  })
  return { committer, closing, state }
}

test('what has been handled is deleted from Kafka only up to the offset that is noted for certain', async () => {
  const partition = partitionOf('t')
  const { committer, closing, state } = committerOf([partition], new Map([['t', 'first']]))
  let answer = Promise.withResolvers<void>()
  state.answer = () => answer.promise
  const purging = committer.purgeNowAndThen()
  handleTo(partition, 4)
  const first = committer.commit()
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect([partition.base, state.purged]).toEqual([4, []])
  answer.resolve()
  await first
  answer = Promise.withResolvers()
  handleTo(partition, 7)
  const second = committer.commit()
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect([partition.base, state.purged]).toEqual([7, [['t', 4]]])
  answer.resolve()
  await second
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect(state.purged).toEqual([
    ['t', 4],
    ['t', 7],
  ])
  closing.abort()
  await purging
})

test('a commit notes which topic its offset belongs to', async () => {
  const partition = partitionOf('t')
  const { committer, state } = committerOf([partition], new Map([['t', 'first']]))
  handleTo(partition, 4)
  await committer.commit()
  const metadata = state.committed[0]?.[0]?.partitions[0]?.committedMetadata
  expect(decodeLedger(4, metadata).topicId).toBe('first')
})

test.each([['second'], [undefined]])(
  'nothing is committed or deleted in a topic that was made again (%s)',
  async (id) => {
    const [gone, stays] = [partitionOf('gone'), partitionOf('stays')]
    const ids = new Map([
      ['gone', 'first'],
      ['stays', 'first'],
    ])
    const { committer, closing, state } = committerOf([gone, stays], ids)
    const purging = committer.purgeNowAndThen()
    for (const partition of [gone, stays]) handleTo(partition, 4)
    await committer.commit()
    if (id === undefined) ids.delete('gone')
    else ids.set('gone', id)
    await vi.advanceTimersByTimeAsync(ROUND_MS)
    expect(state.purged).toEqual([['stays', 4]])
    for (const partition of [gone, stays]) handleTo(partition, 7)
    await committer.commit()
    expect(state.committed.map((topics) => topics.map(({ name }) => name))).toEqual([
      ['gone', 'stays'],
      ['stays'],
    ])
    expect([gone.committed, stays.committed]).toEqual([4, 7])
    // Somebody has to look, whatever there is in it.
    expect([gone.isGone, gone.wantsMore, gone.isDirty]).toEqual([true, true, true])
    closing.abort()
    await purging
  },
)
