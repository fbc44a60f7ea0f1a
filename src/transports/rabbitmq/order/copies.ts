import { randomUUID } from 'node:crypto'
import { Buffer } from 'node:buffer'
import type { ConsumeMessage } from 'amqplib'
import { systemClock } from '../../../lib/async/clock.ts'
import { endedOrAborted } from '../../../lib/async/linked-abort.ts'
import type { BegunHere } from '../connection/known.ts'
import type { Hold } from '../consume/settle.ts'
import type { CopyTo, Mover } from '../consume/mover.ts'
import { contentKey, type HeaderTable, headerTable, ownHeaders } from '../publish/envelope.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { OrderedChannel } from './channel.ts'
import { type Arrived, type Entry, entryOf, entryOfAdopted, lineageIn, stepIn } from './entry.ts'

export interface CopiesPorts {
  readonly channel: OrderedChannel
  /** So long at least something must come from the broker. */
  readonly timeoutMs: number
  /** Name of the retry queue of the partition. */
  readonly retryQueue: string
  readonly mover: Mover
  readonly publisher: Publisher
  readonly begunHere: BegunHere
  /** For what somebody else has put there. */
  readonly onForeign: (entry: Entry) => void
}

/** `kept`: the channel is gone or is about to be, and the next owner begins with the original. */
export type Replaced =
  | { readonly kind: 'replaced'; readonly copy: Arrived }
  | { readonly kind: 'kept' | 'impossible' }

/**
 * The messages of a partition that hold their keys. A message that is to be tried again is copied
 * into the retry queue of the partition, with its number, before its original goes; and the copy
 * stays unanswered in the hands of the owner. The next owner takes these first, before any other
 * message of the partition. Copies that a former owner writes after that are dropped: then their
 * originals have come back.
 */
export class Copies {
  readonly #ports: CopiesPorts
  readonly #expected = new Map<string, (copy: Arrived) => void>()
  readonly #barrier = {
    token: randomUUID(),
    passed: Promise.withResolvers<void>(),
  }
  #arrivals = 0
  /** What former owners have left, until the barrier has come. */
  #found: Arrived[] | undefined
  /** Of messages whose copies were adopted; an original may come after its copy. */
  readonly #twins = new Set<string>()

  constructor(ports: CopiesPorts) {
    this.#ports = ports
  }

  /**
   * Begins to read the retry queue; resolves to what former owners have left. Rejects if the channel
   * is lost meanwhile. Before anything is replaced.
   */
  async adopt(): Promise<readonly Entry[]> {
    this.#found = []
    await this.#consume()
    const found = this.#found
    this.#found = undefined
    return this.#latest(found)
  }

  /** The original of an adopted copy, which was not acknowledged any more. */
  isTwin({ fields, properties, content }: ConsumeMessage): boolean {
    return fields.redelivered && this.#twins.has(contentKey(properties.messageId, content))
  }

  /**
   * Puts a copy with these headers in the place of a message. The original is to be acknowledged
   * when it is `replaced`.
   */
  async replace(hold: Hold, headers: HeaderTable): Promise<Replaced> {
    const token = randomUUID()
    const copy = Promise.withResolvers<Arrived>()
    this.#expected.set(token, copy.resolve)
    const step: CopyTo = {
      target: this.#ports.retryQueue,
      headers: { ...headers, [ownHeaders.copy]: token },
      dead: false,
    }
    const ending = await this.#ports.mover.move(hold, {
      next: () => step,
      aside: () => step,
      noRoom: () => undefined,
    })
    if (ending.kind === 'impossible') return { kind: 'impossible' }
    if (ending.kind !== 'moved') return { kind: 'kept' }
    // Somebody may have taken it out of the queue.
    const came = await this.#comes(copy.promise)
    return came ? { kind: 'replaced', copy: await copy.promise } : { kind: 'kept' }
  }

  /** Resolves when everything that was in the queue has come. */
  async #consume(): Promise<void> {
    const { channel, retryQueue, publisher } = this.#ports
    // Each of them holds a key, and all must be known.
    await channel.consume(retryQueue, 0, (arrived) => this.#arrive(arrived))
    const outcome = await publisher.send({
      exchange: '',
      routingKey: retryQueue,
      content: Buffer.alloc(0),
      properties: { headers: { [ownHeaders.barrier]: this.#barrier.token } },
    })
    if (outcome.kind !== 'confirmed') throw outcome.error
    const passed = await this.#comes(this.#barrier.passed.promise)
    if (!passed) throw this.#ports.channel.lost.reason
  }

  /** False if the channel is lost before. It is given up when nothing at all comes any more. */
  async #comes(awaited: Promise<unknown>): Promise<boolean> {
    const { channel, timeoutMs, retryQueue } = this.#ports
    const state = { hasCome: false }
    const coming = awaited.then(() => void (state.hasCome = true))
    for (let before = -1; !state.hasCome && !channel.lost.aborted; ) {
      if (before === this.#arrivals) {
        channel.giveUp(`queue '${retryQueue}': RabbitMQ delivered nothing for ${timeoutMs} ms`)
        break
      }
      before = this.#arrivals
      const timer = new AbortController()
      const late = systemClock.sleep(timeoutMs, timer.signal)
      await endedOrAborted(Promise.race([coming, late]), channel.lost)
      timer.abort()
    }
    return state.hasCome
  }

  #arrive(arrived: Arrived): void {
    const { onForeign } = this.#ports
    this.#arrivals++
    const { [ownHeaders.barrier]: barrier, [ownHeaders.copy]: mark } = headerTable(arrived.message)
    const token = typeof mark === 'string' ? mark : undefined
    if (barrier !== undefined) {
      arrived.answer('ack')
      if (barrier !== this.#barrier.token) return
      this.#barrier.passed.resolve()
      return
    }
    if (token === undefined) return onForeign(entryOf(arrived))
    const expected = this.#expected.get(token)
    if (expected !== undefined) {
      this.#expected.delete(token)
      expected(arrived)
    } else if (this.#found === undefined) arrived.answer('ack')
    else this.#found.push(arrived)
  }

  /** One copy of each message; its other copies go. */
  #latest(found: readonly Arrived[]): readonly Entry[] {
    const latest = new Map<string, Arrived>()
    for (const copy of found) {
      const lineage = lineageIn(headerTable(copy.message)) ?? randomUUID()
      const other = latest.get(lineage)
      const wins = other === undefined || stepIn(copy.message) >= stepIn(other.message)
      if (wins) latest.set(lineage, copy)
      const loser = wins ? other : copy
      loser?.answer('ack')
    }
    for (const {
      message: { properties, content },
    } of latest.values())
      if (typeof properties.messageId === 'string' && properties.messageId !== '')
        this.#twins.add(contentKey(properties.messageId, content))
    return [...latest.values()].map((copy) => entryOfAdopted(copy, this.#ports.begunHere))
  }
}
