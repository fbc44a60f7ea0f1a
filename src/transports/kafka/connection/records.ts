import { fetchV17, type KafkaRecord, listOffsetsV9, type RecordsBatch } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Cluster } from './cluster.ts'

export interface Place {
  readonly topic: string
  readonly partition: number
}

/** By this the maps of a consumer know it. */
export const keyOf = ({ topic, partition }: Place): string => `${topic} ${partition}`

/** A message as it lies in a partition. */
export interface StoredRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: KafkaRecord['headers']
}

const EARLIEST = -2n
const LATEST = -1n
const CONTROL = 1 << 5
const MOST_BYTES = 8 << 20

/** The first offset of a partition, or the one behind its last. */
export async function endOf(
  cluster: Cluster,
  { topic, partition }: Place,
  end: 'earliest' | 'latest',
): Promise<number> {
  const timestamp = end === 'latest' ? LATEST : EARLIEST
  const { topics } = await cluster.askLeader({ topic, partition }, listOffsetsV9.api, -1, 0, [
    { name: topic, partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }] },
  ])
  return Number(topics[0]?.partitions[0]?.offset ?? 0n)
}

/** What batches hold from this offset on, and the offset behind them. */
export function recordsOf(
  batches: readonly RecordsBatch[],
  from: number,
): { readonly records: readonly StoredRecord[]; readonly next: number } {
  let next = from
  const records: StoredRecord[] = []
  for (const batch of batches) {
    const first = Number(batch.firstOffset)
    next = Math.max(next, first + batch.lastOffsetDelta + 1)
    // Marks of transactions.
    if ((batch.attributes & CONTROL) !== 0) continue
    for (const { offsetDelta, timestampDelta, key, value, headers } of batch.records) {
      const offset = first + offsetDelta
      const timestamp = Number(batch.firstTimestamp + timestampDelta)
      if (offset >= from) records.push({ offset, timestamp, key, value, headers })
    }
  }
  return { records, next }
}

function awayNow({ topic }: Place): MersalError {
  return new MersalError('MERSAL_UNAVAILABLE', `the topic '${topic}' is gone while it was read`)
}

/**
 * Shows every record from an offset up to the end that there is now, until `visit` says `stop`.
 * Returns the offset behind the last one that was read.
 */
export async function readFrom(
  cluster: Cluster,
  place: Place,
  from: number,
  visit: (record: StoredRecord) => 'stop' | void,
): Promise<number> {
  const end = await endOf(cluster, place, 'latest')
  let next = from
  while (next < end) {
    const found = recordsOf(await fetchFrom(cluster, place, next), next)
    for (const record of found.records) if (visit(record) === 'stop') return record.offset
    next = found.next
  }
  return next
}

async function fetchFrom(
  cluster: Cluster,
  place: Place,
  offset: number,
): Promise<readonly RecordsBatch[]> {
  const topics = await cluster.topics([place.topic])
  const topicId = topics.get(place.topic)?.id
  // Half of what a topic holds is no answer.
  if (topicId === undefined) throw awayNow(place)
  const partition = {
    partition: place.partition,
    currentLeaderEpoch: -1,
    fetchOffset: BigInt(offset),
    lastFetchedEpoch: -1,
    partitionMaxBytes: MOST_BYTES,
  }
  const asked = [{ topicId, partitions: [partition] }]
  const answer = await cluster.askLeader(
    place,
    fetchV17.api,
    100,
    1,
    MOST_BYTES,
    0,
    0,
    -1,
    asked,
    [],
    '',
  )
  return answer.responses[0]?.partitions[0]?.records ?? []
}
