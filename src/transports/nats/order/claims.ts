import { AckPolicy, type ConsumerInfo, DeliverPolicy } from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Publisher } from '../publish/publisher.ts'
import { toHeaders } from '../publish/wire.ts'
import { addConsumer, consumersOf, removeConsumer } from '../topology/consumers.ts'
import { CONSUMER } from '../topology/names.ts'
import type { Topology } from '../topology/topology.ts'
import type { Part } from './layout.ts'
import type { Members } from './members.ts'

/** Messages of a part that are in one process, at most: also those behind keys that are held. */
export const AHEAD = 500
/** Whoever dies loses his consumer, so that nothing comes again by time alone. */
const ACK_WAIT_MS = 86_400_000
/** Such as `mersal-3-0f1e2d3c4b5a-7`. */
const NAME = /^mersal-(split|\d+)-([0-9a-f]{12})-\d+$/

/** The right to read a part. It ends when somebody deletes its consumer. */
export interface Claim {
  readonly consumer: string
  /** Up to this place in the stream somebody has been given messages before. */
  readonly handedOut: number
}

export interface ClaimPorts {
  readonly topology: Topology
  readonly publisher: Pick<Publisher, 'send'>
  readonly members: Members
  readonly queue: string
  /** How long the reader without an order must have asked for nothing, in milliseconds. */
  readonly silentMs: number
}

/**
 * Of one part there is one consumer at a time: JetStream refuses a second one, since a message of a
 * work queue has one reader. Each process makes one with a name of its own. When somebody deletes
 * it, its owner can neither receive nor acknowledge any more, and the next one hands out everything
 * that was not acknowledged, from the first on.
 */
export class Claims {
  readonly #ports: ClaimPorts
  #made = 0
  /** Since when nobody has asked the consumer without an order for messages. */
  #idleSince: number | undefined

  constructor(ports: ClaimPorts) {
    this.#ports = ports
  }

  /** Undefined if it belongs to somebody who lives. */
  async take(part: Part): Promise<Claim | undefined> {
    const first = await this.#make(part)
    if (first !== undefined) return first
    for (const holder of await this.#holders(part)) {
      if (!this.#canGo(holder)) return undefined
      await this.#remove(part, holder)
    }
    return await this.#make(part)
  }

  /** Whether nobody has taken it. */
  async isMine(part: Part, { consumer }: Claim): Promise<boolean> {
    return (await this.#ports.topology.consumerInfo(part.stream, consumer)) !== undefined
  }

  /** Gives it up. */
  async drop(part: Part, { consumer }: Claim): Promise<void> {
    const info = await this.#ports.topology.consumerInfo(part.stream, consumer)
    if (info !== undefined) await this.#remove(part, info)
  }

  async #make({ name, stream, subject }: Part): Promise<Claim | undefined> {
    const { topology, members } = this.#ports
    const consumer = `mersal-${name}-${members.id}-${++this.#made}`
    const made = await addConsumer(topology, stream, {
      durable_name: consumer,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: nanos(ACK_WAIT_MS),
      max_ack_pending: AHEAD,
      ...(subject === undefined ? {} : { filter_subject: subject }),
    })
    return made === undefined ? undefined : { consumer, handedOut: await this.#mark(name) }
  }

  async #holders({ stream, name, subject }: Part): Promise<readonly ConsumerInfo[]> {
    const all = await consumersOf(this.#ports.topology, stream)
    return subject === undefined ? all : all.filter((each) => NAME.exec(each.name)?.[1] === name)
  }

  #canGo(holder: ConsumerInfo): boolean {
    const { members } = this.#ports
    if (holder.name === CONSUMER) return this.#isUnread(holder)
    const member = NAME.exec(holder.name)?.[2]
    return member !== undefined && (member === members.id || members.isDead(member))
  }

  /** A process whose hands are full asks for nothing, either. */
  #isUnread({ num_waiting: readers, num_ack_pending: pending }: ConsumerInfo): boolean {
    if (readers > 0) this.#idleSince = undefined
    else if (pending === 0) return true
    else this.#idleSince ??= systemClock.monotonic()
    const since = this.#idleSince ?? Number.POSITIVE_INFINITY
    return systemClock.monotonic() - since >= this.#ports.silentMs
  }

  /** How far it came is written down before: without it nobody would look for what was counted. */
  async #remove(
    { name, stream }: Part,
    { name: consumer, delivered }: ConsumerInfo,
  ): Promise<void> {
    const { topology, publisher, queue } = this.#ports
    const reached = delivered.stream_seq
    if (reached > (await this.#mark(name))) {
      const answer = await publisher.send({
        subject: topology.names.markOf(queue, name),
        headers: toHeaders({ id: consumer, type: '', headers: {} }, crypto.randomUUID()),
        body: Buffer.from(JSON.stringify({ reached })),
      })
      if (answer.kind !== 'stored') throw new Error('how far a part was read could not be noted')
    }
    await removeConsumer(topology, stream, consumer)
  }

  async #mark(name: string): Promise<number> {
    const { topology, queue } = this.#ports
    const { names } = topology
    const found = await topology.ask('looking how far a part was read', ({ manager }) =>
      manager.streams.getMessage(names.state, { last_by_subj: names.markOf(queue, name) }),
    )
    const reached = found?.json<{ readonly reached?: unknown }>().reached
    return typeof reached === 'number' ? reached : 0
  }
}
