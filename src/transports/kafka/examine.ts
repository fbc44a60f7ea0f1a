import { consumerGroupDescribeV0, offsetFetchV9 } from '@platformatic/kafka'
import type { Finding, QueueOverview } from '../../core/operations.ts'
import type { QueueRemoval } from '../../core/transport.ts'
import { partly } from './connection/faults.ts'
import type { Cluster } from './connection/cluster.ts'
import { endOf } from './connection/records.ts'
import type { TopicInfo } from './connection/topic-info.ts'
import { decodeLedger } from './consume/ledger.ts'
import type { KafkaDeadLetters } from './consume/dead-letters.ts'
import type { KafkaSettings } from './options.ts'
import { checkAbsent } from './topology/existence.ts'
import { loses, risks } from './topology/settings.ts'
import type { Topology } from './topology/topology.ts'

/** Looks at the cluster without making anything. Throws when it cannot be reached. */
export function examine(
  topology: Topology,
  settings: KafkaSettings,
  queues: readonly string[],
): Promise<readonly Finding[]> {
  return topology.ask('examining the cluster', async (cluster) => {
    const findings: Finding[] = [{ level: 'ok', subject: 'kafka version', text: cluster.version }]
    for (const queue of queues) {
      const wanted = topology.wanted(queue)
      const found = await cluster.topics(
        wanted.map(({ name }) => name),
        true,
      )
      const configs = await topology.configs(cluster, [...found.keys()])
      for (const topic of wanted) {
        const config = configs.get(topic.name) ?? new Map<string, string>()
        const finding =
          faultOf(topic, found.get(topic.name), queue, settings) ??
          dangerOf(topic, found.get(topic.name), config)
        const fine = { level: 'ok', text: `${topic.partitions} partitions` } as const
        findings.push({ subject: `topic ${topic.name}`, ...(finding ?? fine) })
      }
    }
    return findings
  })
}

type Wanted = ReturnType<Topology['wanted']>[number]
type Found = Omit<Finding, 'subject'> | undefined

/** It is not there, or not as the options say. */
function faultOf(
  { partitions: count }: Wanted,
  info: TopicInfo | undefined,
  queue: string,
  { partitions }: KafkaSettings,
): Found {
  if (info === undefined)
    return {
      level: 'fault',
      text: 'it does not exist',
      remedy: `start the app of queue '${queue}' once, or make it as docs/kafka.md says`,
    }
  const there = info.partitions.length
  if (there === count) return undefined
  return {
    level: 'fault',
    text: `it has ${there} partitions, and the option says ${partitions}`,
    remedy: `set kafka.partitions to ${there}`,
  }
}

/** Its settings lose messages, or may. */
function dangerOf(
  { kind }: Wanted,
  info: TopicInfo | undefined,
  config: ReadonlyMap<string, string>,
): Found {
  const loss = loses(kind, config)
  if (loss !== undefined) return { level: 'fault', text: loss }
  const [risk] = risks(config, info?.partitions[0]?.copies ?? 1)
  return risk === undefined ? undefined : { level: 'warning', text: risk }
}

/** Messages that no consumer has handled yet, and members of the group. */
async function loadOf(
  topology: Topology,
  cluster: Cluster,
  queue: string,
): Promise<{ readonly waiting: number; readonly consumers: number }> {
  const { names } = topology
  const group = names.groupOf(queue)
  const topics = await cluster.topics([names.queueTopic(queue), names.retryTopic(queue)])
  const known = new Map([...topics].map(([name, { partitions }]) => [name, partitions.length]))
  const counts = await waitingIn(cluster, known, await committedBy(cluster, group, known))
  const described = await partly(
    cluster.askGroup(group, consumerGroupDescribeV0.api, [group], false),
  )
  return {
    waiting: counts.reduce((sum, count) => sum + count, 0),
    consumers: described.groups[0]?.members.length ?? 0,
  }
}

interface Committed {
  readonly committedOffset: bigint
  readonly metadata?: string | null | undefined
}

/** How many partitions each topic has. */
type Partitions = ReadonlyMap<string, number>

/** What a group has committed, by topic and partition. */
async function committedBy(
  cluster: Cluster,
  group: string,
  topics: Partitions,
): Promise<ReadonlyMap<string, Committed>> {
  const asked = [...topics].map(([name, count]) => ({
    name,
    partitionIndexes: Array.from({ length: count }, (_, index) => index),
  }))
  const { groups } = await partly(
    cluster.askGroup(
      group,
      offsetFetchV9.api,
      [{ groupId: group, memberId: null as never, memberEpoch: -1, topics: asked }],
      true,
    ),
  )
  return new Map(
    (groups[0]?.topics ?? []).flatMap(({ name, partitions }) =>
      partitions.map((one) => [`${name} ${one.partitionIndex}`, one] as const),
    ),
  )
}

/** Messages behind what was committed, of each partition. */
function waitingIn(
  cluster: Cluster,
  topics: Partitions,
  committed: ReadonlyMap<string, Committed>,
): Promise<number[]> {
  const places = [...topics].flatMap(([topic, count]) =>
    Array.from({ length: count }, (_, partition) => ({ topic, partition })),
  )
  return Promise.all(
    places.map(async (place) => {
      const { committedOffset = -1n, metadata = '' } =
        committed.get(`${place.topic} ${place.partition}`) ?? {}
      const first =
        committedOffset >= 0n ? Number(committedOffset) : await endOf(cluster, place, 'earliest')
      const end = await endOf(cluster, place, 'latest')
      return Math.max(0, end - first - decodeLedger(first, metadata).done.size)
    }),
  )
}

/** Every queue with the prefix, and those of `names` that exist. */
export function queueOverviews(
  topology: Topology,
  deadLetters: KafkaDeadLetters,
): Promise<readonly QueueOverview[]> {
  return topology.ask('looking at the queues', async (cluster) => {
    const { names } = topology
    const topics = await cluster.topicNames(names.queues)
    const queues = topics.map((topic) => names.queueOf(topic)).filter((one) => one !== undefined)
    return Promise.all(
      queues.toSorted().map(async (queue) => ({
        queue,
        dead: await deadLetters.count(cluster, queue),
        ...(await loadOf(topology, cluster, queue)),
      })),
    )
  })
}

export function removeQueue(
  topology: Topology,
  deadLetters: KafkaDeadLetters,
  queue: string,
): Promise<QueueRemoval> {
  return topology.ask(`removing queue '${queue}'`, async (cluster) => {
    const topic = topology.names.queueTopic(queue)
    if ((await cluster.topics([topic], true)).has(topic)) {
      const { waiting, consumers } = await loadOf(topology, cluster, queue)
      if (consumers > 0) return { kind: 'kept', why: `${consumers} consumers read it` }
      if (waiting > 0) return { kind: 'kept', why: `${waiting} messages are in it` }
    } else await checkAbsent(cluster, topic)
    const dead = await deadLetters.count(cluster, queue)
    if (dead > 0) return { kind: 'kept', why: `it has ${dead} dead letters` }
    await topology.remove(cluster, queue)
    return { kind: 'removed' }
  })
}
