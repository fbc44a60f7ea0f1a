import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { Committer } from '../../../../src/transports/kafka/consume/committer.ts'
import type { Membership } from '../../../../src/transports/kafka/consume/membership.ts'
import { Partition, take } from '../../../../src/transports/kafka/consume/partition.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import { toHeaders } from '../../../../src/transports/kafka/publish/wire.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

/** Longer than one round of deleting. */
const ROUND_MS = 13_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('what has been handled is deleted from Kafka only up to the offset that is noted for certain', async () => {
  const partition = new Partition({ topic: 't', partition: 0 }, 0, null)
  const headers = [...toHeaders({ id: 'i', type: 't', headers: {} })]
  const value = Buffer.from('{}')
  for (let offset = 0; offset < 10; offset++)
    partition.add([{ offset, timestamp: 0, key: null, value, headers }], offset + 1)
  let answer = Promise.withResolvers<void>()
  const purged: number[] = []
  const cluster = { askGroup: () => answer.promise } as unknown as Cluster
  const topology = {
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
    purge: (_cluster: Cluster, _place: unknown, offset: number) => {
      purged.push(offset)
      return Promise.resolve()
    },
  } as unknown as Topology
  const closing = new AbortController()
  const committer = new Committer({
    topology,
    settings: kafkaSettings({ bootstrapServers: 'b', logger: false }),
    queue: 'q',
    partitions: new Map([['t 0', partition]]),
    membership: { group: 'q', id: 'member', epoch: 1 } as Membership,
    closing: closing.signal,
    failed: () => {},
  })
  const purging = committer.purgeNowAndThen()
  const handleTo = (end: number): void => {
    for (const entry of partition.due(Date.now())) {
      if (entry.offset >= end) break
      take(entry)
      partition.done(entry)
    }
  }
  handleTo(4)
  const first = committer.commit()
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect([partition.base, purged]).toEqual([4, []])
  answer.resolve()
  await first
  answer = Promise.withResolvers()
  handleTo(7)
  const second = committer.commit()
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect([partition.base, purged]).toEqual([7, [4]])
  answer.resolve()
  await second
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect(purged).toEqual([4, 7])
  closing.abort()
  await purging
})
