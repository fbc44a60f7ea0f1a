import { randomUUID } from 'node:crypto'
import { fetchV17, ProtocolError } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Cluster, Purpose } from '../connection/cluster.ts'
import { codes, movedCodes, partly } from '../connection/faults.ts'
import { endOf, keyOf, recordsOf } from '../connection/records.ts'
import type { KafkaSettings } from '../options.ts'
import type { Topology } from '../topology/topology.ts'
import type { Partition } from './partition.ts'

/** A broker without messages answers after this time. */
const WAIT_MS = 300
const FETCH_BYTES = 8 << 20
const PARTITION_BYTES = 1 << 20
const LATER_MS = 500

export interface FetcherPorts {
  readonly topology: Topology
  readonly settings: KafkaSettings
  readonly queue: string
  /** Those that the consumer has, at each moment. One that begins anew is replaced here. */
  readonly partitions: Map<string, Partition>
  readonly stopping: AbortSignal
  /** Something may have come. */
  readonly arrived: () => void
  readonly failed: (error: unknown) => void
}

/** Fetches ahead for the partitions of one consumer, from each of their brokers on its own. */
export class Fetcher {
  readonly #ports: FetcherPorts
  /** By broker; true if there may be more to fetch than it has looked at. */
  readonly #fetching = new Map<number, boolean>()
  /** Those that could not be read a moment ago: the others do not wait for them. */
  readonly #resting = new Set<Partition>()
  /** Those that could not be read when they were looked at last. */
  readonly #troubled = new WeakSet<Partition>()
  #timer: NodeJS.Timeout | undefined
  /** A connection of its own: a broker answers one question of a connection after the other. */
  readonly #purpose: Purpose = `fetch ${randomUUID()}`

  constructor(ports: FetcherPorts) {
    this.#ports = ports
  }

  /** Whether there is a partition that cannot be read now. */
  get hasTrouble(): boolean {
    return [...this.#ports.partitions.values()].some((one) => this.#troubled.has(one))
  }

  /** Ends the connections. */
  close(): void {
    clearTimeout(this.#timer)
    this.#ports.topology
      .raw((cluster) => Promise.resolve(cluster.drop(this.#purpose)))
      .catch(() => {}) // it is gone
  }

  /** Begins to fetch wherever something is wanted. */
  async begin(): Promise<void> {
    try {
      await this.#ports.topology.raw((cluster) => this.#beginIn(cluster))
    } catch (error) {
      this.#ports.failed(error)
      this.#later()
    }
  }

  async #beginIn(cluster: Cluster): Promise<void> {
    for (const partition of this.#wanting())
      await this.#apart(partition, async () => {
        this.#beginAt(await cluster.leader(partition.topic, partition.partition))
      })
  }

  *#wanting(): Generator<Partition> {
    for (const partition of this.#ports.partitions.values())
      if (partition.wantsMore && !this.#resting.has(partition)) yield partition
  }

  /** What fails for one partition stops no other one. */
  async #apart(partition: Partition, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#resting.add(partition)
      this.#troubled.add(partition)
      this.#ports.failed(error)
      this.#later()
    }
  }

  #beginAt(leader: number): void {
    if (this.#fetching.has(leader)) this.#fetching.set(leader, true)
    else void this.#fetchFrom(leader)
  }

  #later(): void {
    if (this.#ports.stopping.aborted) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#resting.clear()
      void this.begin()
    }, LATER_MS).unref()
  }

  /** Fetches from one broker, as long as there is something to fetch. */
  async #fetchFrom(leader: number): Promise<void> {
    try {
      while (!this.#ports.stopping.aborted) {
        this.#fetching.set(leader, false)
        const isMore = await this.#ports.topology.raw((cluster) => this.#fetch(cluster, leader))
        if (isMore) this.#ports.arrived()
        else if (this.#fetching.get(leader) !== true) return
      }
    } catch (error) {
      this.#ports.failed(error)
      this.#later()
    } finally {
      this.#fetching.delete(leader)
    }
  }

  /** False if nothing is wanted from this broker. */
  async #fetch(cluster: Cluster, leader: number): Promise<boolean> {
    const wanted: Partition[] = []
    for (const partition of this.#wanting())
      await this.#apart(partition, async () => {
        const found = await this.#wantedAt(cluster, partition, leader)
        if (found !== undefined) wanted.push(found)
      })
    if (wanted.length === 0) return false
    const connection = await cluster.to(leader, this.#purpose)
    const asked = topicsOf(wanted)
    const { errorCode, responses } = await partly(
      fetchV17.api.async(connection, WAIT_MS, 1, FETCH_BYTES, 0, 0, -1, asked, [], ''),
    )
    if (errorCode !== 0) throw new ProtocolError(errorCode)
    for (const { topicId, partitions } of responses)
      for (const answer of partitions) {
        const isIts = (one: Partition): boolean =>
          one.topicId === topicId && one.partition === answer.partitionIndex
        const partition = wanted.find(isIts)
        if (partition !== undefined)
          await this.#apart(partition, () => this.#take(cluster, partition, answer))
      }
    return true
  }

  /** What is to be fetched for a partition from this broker, if it is there. */
  async #wantedAt(
    cluster: Cluster,
    partition: Partition,
    leader: number,
  ): Promise<Partition | undefined> {
    const now = await cluster.leader(partition.topic, partition.partition)
    if (now !== leader) {
      // It has moved, and nobody else may tell.
      this.#beginAt(now)
      return undefined
    }
    const info = (await cluster.topics([partition.topic])).get(partition.topic)
    if (info === undefined) return undefined
    if (info.id !== partition.topicId) return this.#beginAnew(cluster, partition, info.id)
    partition.isGone = false
    return partition.wantsMore ? partition : undefined
  }

  async #take(
    cluster: Cluster,
    partition: Partition,
    { errorCode, records }: Answered,
  ): Promise<void> {
    if (partition.lost.aborted) return
    if (errorCode === codes.offsetOutOfRange) return this.#restart(cluster, partition)
    if (errorCode !== 0) {
      if (movedCodes.has(errorCode)) cluster.forget(partition.topic)
      throw new ProtocolError(errorCode)
    }
    this.#troubled.delete(partition)
    if (records === null || records === undefined) return
    const found = recordsOf(records, partition.next)
    partition.add(found.records, found.next)
  }

  /** The topic was deleted and made again: offsets of the old one say nothing about it. */
  async #beginAnew(
    cluster: Cluster,
    partition: Partition,
    topicId: string,
  ): Promise<Partition | undefined> {
    const first = await endOf(cluster, partition, 'earliest')
    return this.#replace(partition, partition.anew(topicId, first))
  }

  /** What was to be read next is gone from the log, or was never there. */
  async #restart(cluster: Cluster, partition: Partition): Promise<void> {
    const first = await endOf(cluster, partition, 'earliest')
    const { topic, topicId, next } = partition
    if (partition.lost.aborted) return
    this.#ports.settings.logger.error(
      { queue: this.#ports.queue, topic, from: next, to: first },
      'kafka has no message at the place that was committed: somebody has deleted messages, or the log was cut; going on with the first one that there is',
    )
    // Only the beginning of the log is gone: what was fetched from it is as good as before.
    if (first >= next) partition.add([], first)
    else this.#replace(partition, partition.anew(topicId, first))
  }

  /** Undefined if the partition is no longer there to be replaced. */
  #replace(old: Partition, other: Partition): Partition | undefined {
    const { partitions, queue } = this.#ports
    if (old.isLeaving || partitions.get(keyOf(old)) !== old) return undefined
    partitions.set(keyOf(old), other)
    const text = `queue '${queue}': the topic '${old.topic}' was made again, or its log was cut`
    old.lose(new MersalError('MERSAL_UNAVAILABLE', text))
    return other
  }
}

type Fetched = Awaited<ReturnType<typeof fetchV17.api.async>>['responses'][number]
type Answered = Pick<Fetched['partitions'][number], 'errorCode' | 'records'>

interface FetchTopic {
  readonly topicId: string
  readonly partitions: FetchPartition[]
}

interface FetchPartition {
  readonly partition: number
  readonly currentLeaderEpoch: number
  readonly fetchOffset: bigint
  readonly lastFetchedEpoch: number
  readonly partitionMaxBytes: number
}

function topicsOf(wanted: readonly Partition[]): FetchTopic[] {
  const topics = new Map<string, FetchTopic>()
  for (const partition of wanted) {
    const { topicId } = partition
    const topic = topics.get(topicId) ?? { topicId, partitions: [] }
    topic.partitions.push(fetchOf(partition))
    topics.set(topicId, topic)
  }
  return [...topics.values()]
}

function fetchOf({ partition, next }: Partition): FetchPartition {
  return {
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: BigInt(next),
    lastFetchedEpoch: -1,
    partitionMaxBytes: PARTITION_BYTES,
  }
}
