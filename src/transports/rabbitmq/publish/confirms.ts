import type { ConfirmChannel, Message, Options } from 'amqplib'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Describe } from '../../shared/describe.ts'
import { replyCode } from '../connection/address.ts'
import { closeQuietly } from '../connection/client.ts'
import { confirmed, refused, tooLarge, unknown, unroutable } from '../../shared/outcomes.ts'
import { type Answer, notEncoded } from './outcomes.ts'
import { confirmBook, type ConfirmBook } from '../../shared/confirm-book.ts'
import { createPassage, type Passage } from './passage.ts'
import { Copies, idOf, marked, type Pending } from './pending.ts'
import { Wire } from './wire.ts'

/** What is written for one message. */
export interface Parcel {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly properties: Options.Publish
}

/** A parcel that is not written yet, because enough is on the way. */
export interface Waiting {
  readonly parcel: Parcel
  readonly settle: (answer: Answer) => void
}

/**
 * Text of RabbitMQ's refusal of a body above `max_message_size` (rabbit_channel.erl,
 * `check_msg_size`).
 */
const TOO_LARGE = /message size \d+ is larger than (?:configured )?max size (\d+)/

/**
 * So often within the time for a confirm it is looked whether the message has reached the broker.
 */
const CHECKS = 10
const LONGEST_CHECK_MS = 1000
/** Moments that are closer than this part of the time for a confirm are one. */
const GRAINS = 50
/**
 * What is on the way is given up when nothing has moved on the link for this many times the time
 * for a confirm.
 */
const STALLED_AFTER = 6

export interface LaneOptions {
  /** Counts from when the broker has read the message. */
  readonly timeoutMs: number
  readonly describe: Describe
  /**
   * Resolves when the broker has read all that was written before. Without it, what is written
   * counts as read.
   */
  readonly question?: () => Promise<unknown>
  /** What fills the buffers of the connection. */
  readonly buffered?: () => number
  /**
   * Takes nothing more after a confirm that did not come in time, and closes when nobody waits for
   * an answer any more.
   */
  readonly endsWhenSilent: boolean
  /** The channel has ended. The limit of the broker is given if a message was above it. */
  readonly onClose: (brokerLimit: number | undefined) => void
}

/**
 * One channel in confirm mode with a record of its own of what is unanswered, since a client
 * library may lose confirms. Delivery tags count from 1 in the order of writing.
 */
export class ConfirmLane {
  readonly #passage: Passage
  readonly #waiting = new Set<Waiting>()
  readonly #checkMs: number
  readonly #channel: ConfirmChannel
  readonly #wire: Wire
  readonly #timeoutMs: number
  readonly #describe: Describe
  readonly #endsWhenSilent: boolean
  readonly #book: ConfirmBook<number, Pending>
  readonly #copies = new Copies()
  #lastTag = 0
  #problem: unknown
  #open = true
  #silent = false

  constructor(
    channel: ConfirmChannel,
    { timeoutMs, describe, endsWhenSilent, onClose, question, buffered = () => 0 }: LaneOptions,
  ) {
    this.#channel = channel
    this.#checkMs = Math.max(5, Math.min(timeoutMs / CHECKS, LONGEST_CHECK_MS))
    this.#book = confirmBook({
      clock: systemClock,
      firstLookMs: this.#checkMs,
      restMs: (tag, pending, now) => this.#restOf(tag, pending, now),
      onLate: (tag, pending) => this.#late(tag, pending),
      onLooked: () => this.#looked(),
    })
    const grainMs = timeoutMs / GRAINS
    this.#passage = createPassage({
      question,
      grainMs,
      waiting: buffered,
      onRoom: () => this.#goOn(),
    })
    this.#wire = new Wire(channel)
    this.#timeoutMs = timeoutMs
    this.#describe = describe
    this.#endsWhenSilent = endsWhenSilent
    channel.on('ack', ({ deliveryTag, multiple }) => this.#answer(deliveryTag, multiple, true))
    channel.on('nack', ({ deliveryTag, multiple }) => this.#answer(deliveryTag, multiple, false))
    channel.on('return', (message) => this.#returned(message))
    channel.on('error', (error) => {
      this.#problem = error
    })
    channel.on('close', () => this.#closed(onClose))
  }

  get open(): boolean {
    return this.#open && !this.#silent
  }

  /**
   * Writes the parcel, or answers how it waits until there is room on the way. Throws, without
   * having written anything, if it cannot be encoded.
   */
  write(parcel: Parcel, settle: (answer: Answer) => void): Waiting | undefined {
    if (this.#waiting.size > 0 || this.#passage.full) {
      const waiting = { parcel, settle }
      this.#waiting.add(waiting)
      return waiting
    }
    this.#writeNow(parcel, settle)
    return undefined
  }

  /** True if it was still waiting: then it is never written. */
  takeBack(waiting: Waiting): boolean {
    return this.#waiting.delete(waiting)
  }

  /** What waits goes elsewhere. */
  turnAway(): void {
    const all = [...this.#waiting]
    this.#waiting.clear()
    for (const { settle } of all) settle({ kind: 'not-taken' })
  }

  #writeNow(parcel: Parcel, settle: (answer: Answer) => void): void {
    const { exchange, routingKey, content, properties } = parcel
    const id = idOf(properties)
    const { copy, earlier } = this.#copies.next(id, parcel)
    this.#wire.write(parcel, content, marked(properties, copy))
    const tag = ++this.#lastTag
    const [bytes, writtenAt] = [content.length, systemClock.monotonic()]
    const end = this.#passage.wrote(tag, bytes)
    const pending: Pending = {
      id,
      exchange,
      routingKey,
      earlier,
      bytes,
      writtenAt,
      end,
      copy,
      settle,
      returned: undefined,
    }
    this.#book.enter(tag, pending)
    this.#copies.add(pending)
  }

  /** There is room on the way. */
  #goOn(): void {
    if (this.#waiting.size === 0 || !this.#open) return
    this.#wire.together(this.#waiting.size, () => {
      for (const waiting of this.#waiting) {
        if (this.#passage.full) return
        this.#waiting.delete(waiting)
        try {
          this.#writeNow(waiting.parcel, waiting.settle)
        } catch (error) {
          waiting.settle(
            this.#open ? notEncoded(error, this.#describe(error)) : { kind: 'not-taken' },
          )
        }
      }
    })
  }

  /** What `work` writes, about `count` messages, leaves in one piece. */
  together<Result>(count: number, work: () => Result): Result {
    return this.#wire.together(count, work)
  }

  async close(): Promise<void> {
    if (this.#open) await closeQuietly(this.#channel)
  }

  #answer(tag: number, multiple: boolean, positive: boolean): void {
    for (const each of multiple ? this.#tagsUpTo(tag) : [tag]) {
      const pending = this.#take(each)
      if (pending === undefined) continue
      this.#passage.reached(each, pending.end)
      const { routingKey, returned } = pending
      const answer = positive
        ? confirmed
        : refused(`RabbitMQ refused the message for '${routingKey}' (nack)`)
      pending.settle(returned ?? answer)
    }
    this.#goOn()
    this.#endIfDone()
  }

  /**
   * RabbitMQ returns an unroutable message first and acknowledges it afterwards, as if nothing had
   * happened.
   */
  #returned(message: Message): void {
    const pending = this.#copies.returned(message)
    if (pending === undefined) return
    const { exchange, routingKey } = message.fields
    pending.returned = unroutable({ kind: exchange === '' ? 'queue' : 'topic', name: routingKey })
  }

  #tagsUpTo(last: number): number[] {
    const tags: number[] = []
    for (const [tag] of this.#book.entries()) {
      if (tag > last) break
      tags.push(tag)
    }
    return tags
  }

  #take(tag: number): Pending | undefined {
    const pending = this.#book.take(tag)
    if (pending !== undefined) this.#copies.remove(pending)
    return pending
  }

  /** It stays on record, so that a late return still finds its own copy. */
  #late(tag: number, { end, settle }: Pending): 'keep' {
    // It no longer counts as on the way, or it would hold up others.
    this.#passage.reached(tag, end)
    this.#silent = this.#endsWhenSilent
    settle(unknown(`RabbitMQ did not confirm the message within ${this.#timeoutMs} ms`))
    return 'keep'
  }

  #looked(): void {
    this.#passage.forget(systemClock.monotonic() - 2 * this.#timeoutMs)
    this.#goOn()
    this.#endIfDone()
  }

  /**
   * How long this message may go on without an answer. While it is on its way, that is until
   * something must have moved.
   */
  #restOf(tag: number, { writtenAt }: Pending, now: number): number {
    const reachedAt = this.#passage.reachedAt(tag)
    if (reachedAt !== undefined) return reachedAt + this.#timeoutMs - now
    const untilCheck = writtenAt + this.#checkMs - now
    if (untilCheck > 0) return untilCheck
    this.#passage.ask()
    const stalledAt = Math.max(writtenAt, this.#passage.movedAt) + STALLED_AFTER * this.#timeoutMs
    return Math.min(stalledAt - now, this.#checkMs)
  }

  #endIfDone(): void {
    if (this.#silent && this.#open && this.#book.idle) void closeQuietly(this.#channel)
  }

  #closed(onClose: LaneOptions['onClose']): void {
    this.#open = false
    this.#book.close()
    const text =
      this.#problem === undefined ? 'the channel was closed' : this.#describe(this.#problem)
    const limit = replyCode(this.#problem) === 406 ? TOO_LARGE.exec(text)?.[1] : undefined
    const culprit = limit === undefined ? undefined : this.#firstAbove(Number(limit))
    // Before the answers: what was not taken is sent again at once, within the limit.
    onClose(limit === undefined ? undefined : Number(limit))
    for (const tag of this.#tagsUpTo(Number.POSITIVE_INFINITY)) {
      const pending = this.#take(tag)
      if (culprit !== undefined && tag === culprit)
        pending?.settle(tooLarge(pending.bytes, Number(limit)))
      else if (culprit !== undefined && tag > culprit) pending?.settle({ kind: 'not-taken' })
      else
        pending?.settle(
          unknown(`the channel was closed before RabbitMQ confirmed the message: ${text}`),
        )
    }
    this.turnAway()
  }

  #firstAbove(limit: number): number | undefined {
    for (const [tag, { bytes }] of this.#book.entries()) if (bytes > limit) return tag
    return undefined
  }
}
