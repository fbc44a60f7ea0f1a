import { randomBytes } from 'node:crypto'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Publisher } from '../publish/publisher.ts'
import { toHeaders } from '../publish/wire.ts'
import type { Topology } from '../topology/topology.ts'

interface Seen {
  /** The place of its last record in the stream; 0 if there is none. */
  readonly record: number
  /** Since when this is so, by the monotonic clock of this process. */
  readonly since: number
}

/** A record is removed when its process was silent for this multiple of the time for it. */
const FORGOTTEN_AFTER = 10

/**
 * The processes that read a queue in order. Each writes a record again and again. One whose record
 * stays the same for `silentMs` is dead, by the monotonic clock of whoever looks: no two clocks are
 * compared.
 */
export class Members {
  readonly id: string = randomBytes(6).toString('hex')
  readonly #topology: Topology
  readonly #publisher: Pick<Publisher, 'send'>
  readonly #queue: string
  readonly #silentMs: number
  readonly #seen = new Map<string, Seen>()
  #present: readonly string[] = []
  #renewedAt = Number.NEGATIVE_INFINITY

  constructor(
    topology: Topology,
    publisher: Pick<Publisher, 'send'>,
    queue: string,
    silentMs: number,
  ) {
    this.#topology = topology
    this.#publisher = publisher
    this.#queue = queue
    this.#silentMs = silentMs
  }

  /** Others take this process for dead, or are about to: what it holds is no longer its own. */
  get isLate(): boolean {
    return systemClock.monotonic() - this.#renewedAt >= this.#silentMs
  }

  /** Writes the record of this process. */
  async renew(): Promise<void> {
    const before = systemClock.monotonic()
    const answer = await this.#publisher.send({
      subject: this.#topology.names.memberOf(this.#queue, this.id),
      headers: toHeaders({ id: this.id, type: '', headers: {} }, crypto.randomUUID()),
      body: new Uint8Array(),
    })
    if (answer.kind === 'nobody') await this.#topology.queue(this.#queue)
    if (answer.kind !== 'stored') throw new Error('the record of this process was not stored')
    this.#renewedAt = before
  }

  /** Reads the records of all of them. */
  async look(): Promise<void> {
    const { names } = this.#topology
    const info = await this.#topology.info(names.state, names.memberOf(this.#queue, '*'))
    const present = Object.keys(info?.state.subjects ?? {}).map((each) => each.split('.').at(-1)!)
    await Promise.all(
      [...new Set([...present, ...this.#seen.keys()])].map(async (member) =>
        this.#note(member, present.includes(member) ? await this.#recordOf(member) : 0),
      ),
    )
    this.#present = present
  }

  /** Those that live, this one included, in an order that is the same for all of them. */
  living(): readonly string[] {
    const living = this.#present.filter((member) => member === this.id || !this.isDead(member))
    return [...new Set([...living, this.id])].toSorted()
  }

  /** Whether it has been silent for so long that it begins nothing any more. */
  isDead(member: string): boolean {
    const seen = this.#seen.get(member) ?? this.#note(member, 0)
    return systemClock.monotonic() - seen.since >= this.#silentMs
  }

  async leave(): Promise<void> {
    await this.#forget(this.id)
  }

  #note(member: string, record: number): Seen {
    const before = this.#seen.get(member)
    if (before?.record === record) return before
    const seen = { record, since: systemClock.monotonic() }
    this.#seen.set(member, seen)
    return seen
  }

  async #recordOf(member: string): Promise<number> {
    const { names } = this.#topology
    const query = { last_by_subj: names.memberOf(this.#queue, member) }
    const found = await this.#topology.ask('looking for a reader', ({ manager }) =>
      manager.streams.getMessage(names.state, query),
    )
    const since = this.#seen.get(member)?.since ?? Number.POSITIVE_INFINITY
    const silentMs = systemClock.monotonic() - since
    if (
      found?.seq === this.#seen.get(member)?.record &&
      silentMs > FORGOTTEN_AFTER * this.#silentMs
    )
      await this.#forget(member)
    return found?.seq ?? 0
  }

  #forget(member: string): Promise<unknown> {
    const { names } = this.#topology
    return this.#topology.ask('removing the record of a reader', ({ manager }) =>
      manager.streams.purge(names.state, { filter: names.memberOf(this.#queue, member) }),
    )
  }
}
