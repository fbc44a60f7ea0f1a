import { expect, test } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { encodeLedger } from '../../../../src/transports/kafka/consume/ledger.ts'
import { openPartition } from '../../../../src/transports/kafka/consume/open-partition.ts'

const FIRST = 2
const place = { topic: 't', partition: 0 }
const member = { group: 'q', id: 'member', epoch: 1 }
const notedOf = (topicId: string): string => encodeLedger(topicId, 7, 9, (at) => at === 7, [])

/** A topic with this id of which the cluster knew `known`, and what is committed there. */
function clusterOf(id: string | undefined, known: string | undefined, metadata: string): Cluster {
  const partitions = [{ committedOffset: 7n, metadata }]
  return {
    topics: (_: unknown, fresh = false) => {
      const told = fresh ? id : known
      return Promise.resolve(new Map(told === undefined ? [] : [['t', { id: told }]]))
    },
    askGroup: () => Promise.resolve({ groups: [{ topics: [{ partitions }] }] }),
    askLeader: () => Promise.resolve({ topics: [{ partitions: [{ offset: BigInt(FIRST) }] }] }),
  } as unknown as Cluster
}

test.each([
  { what: 'is that of this topic', known: 'new', noted: notedOf('new'), next: 7 },
  { what: 'is that of this topic, which is news', known: 'old', noted: notedOf('new'), next: 7 },
  { what: 'is that of a topic before it', known: 'new', noted: notedOf('old'), next: FIRST },
  { what: 'was committed by a tool of Kafka', known: 'new', noted: '', next: 7 },
])('a partition of Kafka whose offset $what begins at $next', async ({ known, noted, next }) => {
  const partition = await openPartition(clusterOf('new', known, noted), member, place)
  expect([partition.next, partition.topicId]).toEqual([next, 'new'])
})

test('a partition of Kafka is not opened before its topic is known', async () => {
  await expect(
    openPartition(clusterOf(undefined, undefined, notedOf('old')), member, place),
  ).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
})
