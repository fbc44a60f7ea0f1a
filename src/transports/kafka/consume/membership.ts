import { randomUUID } from 'node:crypto'
import { consumerGroupHeartbeatV1 } from '@platformatic/kafka'
import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { endedOrAborted, linkAbort } from '../../../lib/async/linked-abort.ts'
import { keyOf, type Place } from '../connection/records.ts'
import { codes, codesIn } from '../connection/faults.ts'
import { invalid, type KafkaSettings } from '../options.ts'
import type { Topology } from '../topology/topology.ts'

/** The broker takes a partition back by force after this time. */
export const REBALANCE_MS = 60_000
const LONGEST_HEARTBEAT_MS = 1000
const LEAVE = -1
/** Half of the partitions of a queue and half of those of its retries go to one of two members. */
const ASSIGNOR = 'range'
const NO_GROUPS =
  "the brokers do not offer consumer groups of KIP-848 with the assignor 'range': look at group.coordinator.rebalance.protocols and group.consumer.assignors"

export interface MembershipPorts {
  readonly topology: Topology
  readonly settings: KafkaSettings
  readonly queue: string
  readonly gained: (places: readonly Place[]) => void
  /** Resolves when they may go to somebody else. */
  readonly leaving: (places: readonly Place[]) => Promise<void>
  /** Somebody else may have all of them. */
  readonly lost: (reason: Error) => void
  /** `failure`: the coordinator was silent for longer than the session, and still is. */
  readonly answered: (failure?: unknown) => void
}

/**
 * Being a member of the group of a queue, by the protocol of KIP-848: the coordinator says in its
 * answers to heartbeats which partitions are whose, and gives none away before its owner has let
 * go.
 */
export class Membership {
  readonly #ports: MembershipPorts
  readonly group: string
  readonly #topics: readonly string[]
  readonly #owned = new Map<string, Place>()
  readonly #leaving = new Set<string>()
  readonly #gained = Promise.withResolvers<void>()
  #poke = Promise.withResolvers<void>()
  #renewedAt = 0
  id: string = randomUUID()
  epoch = 0

  constructor(ports: MembershipPorts) {
    this.#ports = ports
    const { names } = ports.topology
    this.group = names.groupOf(ports.queue)
    this.#topics = [names.queueTopic(ports.queue), names.retryTopic(ports.queue)]
  }

  /** Whether the coordinator may have given its partitions to others, by our own clock. */
  get isStale(): boolean {
    return systemClock.monotonic() - this.#renewedAt > this.#ports.settings.sessionTimeoutMs
  }

  /** Resolves when this member has a partition. */
  get hasSome(): Promise<void> {
    return this.#gained.promise
  }

  /** Rejects if the coordinator does not take it. */
  async join(): Promise<void> {
    try {
      await this.#beat()
    } catch (error) {
      const found = codesIn(error)
      if (found.includes(codes.unsupportedVersion) || found.includes(codes.unsupportedAssignor))
        throw invalid('bootstrapServers', NO_GROUPS)
      throw error
    }
  }

  /** Says that it is there, until `stop` aborts. */
  async run(stop: AbortSignal): Promise<void> {
    const { sessionTimeoutMs } = this.#ports.settings
    const every = Math.min(LONGEST_HEARTBEAT_MS, sessionTimeoutMs / 6)
    while (!stop.aborted) {
      await this.#rest(every, stop)
      if (stop.aborted || this.epoch === LEAVE) return
      this.#poke = Promise.withResolvers()
      if (this.isStale && this.#owned.size > 0)
        this.#lose('it was silent for longer than the session')
      await endedOrAborted(this.#tryBeat(), stop)
    }
  }

  /** Until the next heartbeat is due, or something has to be said at once. */
  async #rest(ms: number, stop: AbortSignal): Promise<void> {
    using link = linkAbort(stop)
    const wake = new AbortController()
    link.follow(() => wake.abort())
    void this.#poke.promise.then(() => wake.abort())
    await systemClock.sleep(ms, wake.signal)
  }

  /** Lets go of everything at once. */
  async leave(): Promise<void> {
    if (this.epoch === 0) return
    this.epoch = LEAVE
    await this.#send([])
  }

  /** The coordinator no longer knows this member. */
  fenced(): void {
    this.#lose('the coordinator has taken its partitions')
    this.#poke.resolve()
  }

  async #tryBeat(): Promise<void> {
    try {
      await this.#beat()
      this.#ports.answered()
    } catch (error) {
      if (this.epoch === LEAVE) return
      if (this.isStale) this.#ports.answered(error)
      const found = codesIn(error)
      if (found.includes(codes.unknownMember) || found.includes(codes.fencedMember))
        return this.fenced()
      this.#ports.settings.logger.debug(
        { queue: this.#ports.queue, ...errorFields(error) },
        'a heartbeat was not answered',
      )
    }
  }

  async #beat(): Promise<void> {
    const sentAt = systemClock.monotonic()
    const owned = [...this.#owned.values()]
    const { id } = this
    const answer = await this.#send(owned)
    // Meanwhile it may have become another member, or none.
    if (id !== this.id || this.epoch === LEAVE) return
    this.epoch = answer.memberEpoch
    this.#renewedAt = sentAt
    if (answer.assignment !== null) await this.#assign(answer.assignment.topicPartitions)
  }

  #send(owned: readonly Place[]) {
    const { topology } = this.#ports
    const topics = [...this.#topics]
    return topology.raw(async (cluster) => {
      const known = await cluster.topics(topics)
      const list = [...known].flatMap(([topic, info]) => {
        const partitions = owned.filter((one) => one.topic === topic)
        return partitions.length === 0
          ? []
          : [{ topicId: info.id, partitions: partitions.map(({ partition }) => partition) }]
      })
      return cluster.askGroup(
        this.group,
        consumerGroupHeartbeatV1.api,
        this.group,
        this.id,
        this.epoch,
        null,
        null,
        REBALANCE_MS,
        topics,
        null,
        ASSIGNOR,
        list,
      )
    })
  }

  async #assign(
    given: readonly { readonly topicId: string; readonly partitions: readonly number[] }[],
  ): Promise<void> {
    const wanted = new Map<string, Place>()
    for (const { topicId, partitions } of given) {
      const topic = await this.#ports.topology.raw((cluster) =>
        cluster.topicOf(topicId, this.#topics),
      )
      if (topic === undefined) continue
      for (const partition of partitions)
        wanted.set(keyOf({ topic, partition }), { topic, partition })
    }
    const gained = [...wanted].filter(([key]) => !this.#owned.has(key))
    const leaving = [...this.#owned].filter(([key]) => !wanted.has(key) && !this.#leaving.has(key))
    for (const [key, place] of gained) this.#owned.set(key, place)
    if (gained.length > 0) this.#ports.gained(gained.map(([, place]) => place))
    if (wanted.size > 0) this.#gained.resolve()
    if (leaving.length > 0) void this.#letGo(leaving)
    // What is new was not told to the coordinator yet.
    if (gained.length > 0) this.#poke.resolve()
  }

  async #letGo(leaving: readonly (readonly [string, Place])[]): Promise<void> {
    const { id } = this
    for (const [key] of leaving) this.#leaving.add(key)
    await this.#ports.leaving(leaving.map(([, place]) => place))
    for (const [key] of leaving) {
      this.#leaving.delete(key)
      if (id === this.id) this.#owned.delete(key)
    }
    this.#poke.resolve()
  }

  /** Begins anew as another member. */
  #lose(why: string): void {
    const { queue, lost } = this.#ports
    this.#owned.clear()
    this.#leaving.clear()
    this.id = randomUUID()
    this.epoch = 0
    this.#renewedAt = systemClock.monotonic()
    lost(
      new MersalError(
        'MERSAL_UNAVAILABLE',
        `queue '${queue}': the hold on its messages was lost: ${why}`,
      ),
    )
  }
}
