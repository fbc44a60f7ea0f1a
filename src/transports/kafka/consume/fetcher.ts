import { randomUUID } from 'node:crypto'
import { fetchV17 } from '@platformatic/kafka'
import type { Cluster, Purpose } from '../connection/cluster.ts'
import { codes, codesIn, movedCodes } from '../connection/faults.ts'
import { endOf, recordsOf } from '../connection/records.ts'
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
  /** Those that the consumer has, at each moment. */
  readonly partitions: ReadonlyMap<string, Partition>
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
  /** A connection of its own: a broker answers one question of a connection after the other. */
  readonly #purpose: Purpose = `fetch ${randomUUID()}`

  constructor(ports: FetcherPorts) {
    this.#ports = ports
  }

  /** Ends the connections. */
  close(): void {
    this.#ports.topology
      .raw((cluster) => Promise.resolve(cluster.drop(this.#purpose)))
      .catch(() => {}) // it is gone
  }

  /** Begins to fetch wherever something is wanted. */
  async begin(): Promise<void> {
    const { topology, partitions } = this.#ports
    for (const partition of partitions.values()) {
      if (!partition.wantsMore) continue
      try {
        const leader = await topology.raw((cluster) =>
          cluster.leader(partition.topic, partition.partition),
        )
        this.#beginAt(leader)
      } catch (error) {
        this.#ports.failed(error)
        return this.#later()
      }
    }
  }

  #beginAt(leader: number): void {
    if (this.#fetching.has(leader)) this.#fetching.set(leader, true)
    else void this.#fetchFrom(leader)
  }

  #later(): void {
    setTimeout(() => void this.begin(), LATER_MS).unref()
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
    const topics = new Map<string, { topicId: string; partitions: FetchPartition[] }>()
    for (const partition of this.#ports.partitions.values()) {
      if (!partition.wantsMore) continue
      const now = await cluster.leader(partition.topic, partition.partition)
      if (now !== leader) {
        // It has moved, and nobody else may tell.
        this.#beginAt(now)
        continue
      }
      const info = (await cluster.topics([partition.topic])).get(partition.topic)
      if (info === undefined) continue
      if (info.id !== partition.topicId) await this.#beginAnew(cluster, partition, info.id)
      wanted.push(partition)
      const topic = topics.get(partition.topic) ?? { topicId: info.id, partitions: [] }
      topic.partitions.push(fetchOf(partition))
      topics.set(partition.topic, topic)
    }
    if (wanted.length === 0) return false
    const connection = await cluster.to(leader, this.#purpose)
    const answer = await fetchV17.api
      .async(connection, WAIT_MS, 1, FETCH_BYTES, 0, 0, -1, [...topics.values()], [], '')
      .catch((error: unknown) => this.#fetchFailed(cluster, error, wanted))
    for (const { topicId, partitions } of answer.responses) {
      const name = [...topics].find(([, topic]) => topic.topicId === topicId)?.[0]
      for (const { partitionIndex, errorCode, records } of partitions) {
        const partition = wanted.find(
          (one) => one.topic === name && one.partition === partitionIndex,
        )
        if (partition === undefined || partition.lost.aborted) continue
        if (errorCode === codes.offsetOutOfRange) await this.#restart(cluster, partition)
        if (errorCode !== 0 || records === null || records === undefined) continue
        const found = recordsOf(records, partition.next)
        partition.add(found.records, found.next)
      }
    }
    return true
  }

  /** What the other partitions have answered, if only some have failed. */
  async #fetchFailed(
    cluster: Cluster,
    error: unknown,
    wanted: readonly Partition[],
  ): Promise<{ readonly responses: FetchResponses }> {
    const found = codesIn(error)
    const { response } = error as { readonly response?: { readonly responses: FetchResponses } }
    if (found.some((code) => movedCodes.has(code)))
      for (const { topic } of wanted) cluster.forget(topic)
    if (found.length > 0 && found.every((code) => code === codes.offsetOutOfRange) && response)
      return response
    throw error
  }

  /** The topic was deleted and made again: offsets of the old one say nothing about it. */
  async #beginAnew(cluster: Cluster, partition: Partition, topicId: string): Promise<void> {
    const isKnown = partition.topicId !== undefined
    if (isKnown) partition.reset(await endOf(cluster, partition, 'earliest'))
    partition.topicId = topicId
  }

  /** What was to be read next is gone from the log, or was never there. */
  async #restart(cluster: Cluster, partition: Partition): Promise<void> {
    const first = await endOf(cluster, partition, 'earliest')
    this.#ports.settings.logger.error(
      { queue: this.#ports.queue, topic: partition.topic, from: partition.next, to: first },
      'kafka has no message at the place that was committed: somebody has deleted messages, or the log was cut; going on with the first one that there is',
    )
    partition.reset(first)
  }
}

interface FetchPartition {
  readonly partition: number
  readonly currentLeaderEpoch: number
  readonly fetchOffset: bigint
  readonly lastFetchedEpoch: number
  readonly partitionMaxBytes: number
}

type FetchResponses = Awaited<ReturnType<typeof fetchV17.api.async>>['responses']

function fetchOf({ partition, next }: Partition): FetchPartition {
  return {
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: BigInt(next),
    lastFetchedEpoch: -1,
    partitionMaxBytes: PARTITION_BYTES,
  }
}
