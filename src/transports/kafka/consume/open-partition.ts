import { offsetFetchV9 } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Cluster } from '../connection/cluster.ts'
import { endOf, type Place } from '../connection/records.ts'
import { decodeLedger } from './ledger.ts'
import type { Membership } from './membership.ts'
import { Partition } from './partition.ts'

/** Where the group stands in a partition that this member has; at its beginning if nowhere yet. */
export async function openPartition(
  cluster: Cluster,
  { group, id, epoch }: Pick<Membership, 'group' | 'id' | 'epoch'>,
  { topic, partition }: Place,
): Promise<Partition> {
  const topics = [{ name: topic, partitionIndexes: [partition] }]
  const wanted = [{ groupId: group, memberId: id, memberEpoch: epoch, topics }]
  const { groups } = await cluster.askGroup(group, offsetFetchV9.api, wanted, true)
  const found = groups[0]?.topics[0]?.partitions[0]
  const committed = Number(found?.committedOffset ?? -1n)
  const metadata = found?.metadata ?? null
  const { topicId: noted } = decodeLedger(committed, metadata)
  const topicId = await idOf(cluster, topic, noted)
  const place = { topic, partition }
  // An offset of a topic that had this name before says nothing about the one that has it now.
  const isIts = noted === undefined || noted === topicId
  if (committed >= 0 && isIts) return new Partition(place, topicId, committed, metadata)
  const first = await endOf(cluster, place, 'earliest')
  return new Partition(place, topicId, first, null)
}

/** The cluster is asked anew if it was another one when something was committed. */
async function idOf(cluster: Cluster, topic: string, noted: string | undefined): Promise<string> {
  const known = (await cluster.topics([topic])).get(topic)?.id
  if (known !== undefined && (noted === undefined || noted === known)) return known
  const id = (await cluster.topics([topic], true)).get(topic)?.id
  if (id !== undefined) return id
  throw new MersalError('MERSAL_UNAVAILABLE', `the topic '${topic}' is not there yet`)
}
