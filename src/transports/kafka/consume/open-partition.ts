import { offsetFetchV9 } from '@platformatic/kafka'
import type { Cluster } from '../connection/cluster.ts'
import { endOf, type Place } from '../connection/records.ts'
import type { Membership } from './membership.ts'
import { Partition } from './partition.ts'

/** Where the group stands in a partition that this member has; at its beginning if nowhere yet. */
export async function openPartition(
  cluster: Cluster,
  { group, id, epoch }: Pick<Membership, 'group' | 'id' | 'epoch'>,
  { topic, partition }: Place,
): Promise<Partition> {
  const topicId = (await cluster.topics([topic])).get(topic)?.id
  const topics = [{ name: topic, partitionIndexes: [partition] }]
  const wanted = [{ groupId: group, memberId: id, memberEpoch: epoch, topics }]
  const { groups } = await cluster.askGroup(group, offsetFetchV9.api, wanted, true)
  const found = groups[0]?.topics[0]?.partitions[0]
  const committed = Number(found?.committedOffset ?? -1n)
  const place = { topic, partition }
  if (committed >= 0) return new Partition(place, committed, found?.metadata ?? null, topicId)
  const first = await endOf(cluster, place, 'earliest')
  return new Partition(place, first, null, topicId)
}
