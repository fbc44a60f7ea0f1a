import { offsetCommitV9 } from '@platformatic/kafka'
import { errorFields } from '../../../core/errors/error-text.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { abortable } from '../../../lib/async/linked-abort.ts'
import type { Cluster } from '../connection/cluster.ts'
import { codes, codesIn } from '../connection/faults.ts'
import type { KafkaSettings } from '../options.ts'
import type { Topology } from '../topology/topology.ts'
import type { Membership } from './membership.ts'
import type { Partition } from './partition.ts'

const backoff = { firstMs: 100, longestMs: 3000 }
const PURGE_EVERY_MS = 10_000

export interface CommitterPorts {
  readonly topology: Topology
  readonly settings: KafkaSettings
  readonly queue: string
  /** Those that the consumer has, at each moment. */
  readonly partitions: ReadonlyMap<string, Partition>
  readonly membership: Membership
  readonly closing: AbortSignal
  readonly failed: (error: unknown) => void
}

/** Notes where the partitions of one consumer stand: one commit at a time, of all that is new. */
export class Committer {
  readonly #ports: CommitterPorts
  #current: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(ports: CommitterPorts) {
    this.#ports = ports
  }

  /** Resolves when what is true now is noted, or is no longer this consumer's to note. */
  commit(tries: number = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#next !== undefined) return this.#next
    const begin = async (): Promise<void> => {
      await this.#current
      this.#next = undefined
      await (this.#current = this.#commitUntilDone(tries))
    }
    this.#next = begin()
    return this.#next
  }

  async #commitUntilDone(tries: number): Promise<void> {
    for (let failures = 1; failures <= tries; failures++) {
      const dirty = [...this.#ports.partitions.values()].filter(({ isDirty }) => isDirty)
      if (dirty.length === 0 || this.#ports.closing.aborted) return
      for (const partition of dirty) partition.isDirty = false
      try {
        return await this.#ports.topology.raw((cluster) => this.#commitNow(cluster, dirty))
      } catch (error) {
        for (const partition of dirty) partition.isDirty = true
        const found = codesIn(error)
        if (found.includes(codes.unknownMember) || found.includes(codes.fencedMember))
          return this.#ports.membership.fenced()
        if (!found.includes(codes.staleMember)) this.#ports.failed(error)
        await systemClock.sleep(backoffMs(backoff, failures, Math.random), this.#ports.closing)
      }
    }
  }

  async #commitNow(cluster: Cluster, dirty: readonly Partition[]): Promise<void> {
    const { group, id, epoch } = this.#ports.membership
    const mine: Partition[] = []
    for (const one of dirty) if (await this.#isStill(cluster, one, one.isLeaving)) mine.push(one)
    if (mine.length === 0) return
    const bases = new Map(mine.map((one) => [one, one.base]))
    const topics = [...new Set(mine.map(({ topic }) => topic))].map((name) => ({
      name,
      partitions: mine
        .filter(({ topic }) => topic === name)
        .map((one) => ({
          partitionIndex: one.partition,
          committedOffset: BigInt(one.base),
          committedLeaderEpoch: -1,
          committedMetadata: one.metadata,
        })),
    }))
    try {
      await cluster.askGroup(group, offsetCommitV9.api, group, epoch, id, null, topics)
    } catch (error) {
      if (codesIn(error).includes(codes.unknownTopic))
        for (const { topic } of mine) cluster.forget(topic)
      throw error
    }
    for (const [partition, base] of bases) partition.committed = base
  }

  /**
   * Whether its topic is the one that its offsets belong to: Kafka commits and deletes by name. One
   * that is not stays as it is until it begins anew.
   */
  async #isStill(cluster: Cluster, partition: Partition, fresh: boolean): Promise<boolean> {
    const { topic, topicId } = partition
    // If it cannot be known now, the note beside the offset still tells whose it is.
    const known = await cluster.topics([topic], fresh).catch(() => undefined)
    if (known === undefined || known.get(topic)?.id === topicId) return true
    partition.isDirty = true
    partition.isGone = true
    return false
  }

  /** What has been handled is deleted: nobody else reads the topic of a queue. */
  async purgeNowAndThen(): Promise<void> {
    const { topology, settings, closing: signal } = this.#ports
    while (!signal.aborted) {
      await systemClock.sleep(PURGE_EVERY_MS * (0.75 + Math.random() / 2), signal)
      for (const partition of this.#ports.partitions.values()) {
        // What is not noted yet would be missing if somebody else began where this has begun.
        const { committed, purged } = partition
        if (signal.aborted || committed <= purged) continue
        try {
          await abortable(signal, () =>
            topology.raw((cluster) => this.#purge(cluster, partition, committed)),
          )
        } catch (error) {
          if (signal.aborted) return
          settings.logger.debug(
            { queue: this.#ports.queue, ...errorFields(error) },
            'what has been handled was not deleted',
          )
        }
      }
    }
  }

  async #purge(cluster: Cluster, partition: Partition, committed: number): Promise<void> {
    // Here nothing else tells whose offset it is.
    await cluster.topics([partition.topic], true)
    if (!(await this.#isStill(cluster, partition, false))) return
    await this.#ports.topology.purge(cluster, partition, committed)
    partition.purged = committed
  }
}
