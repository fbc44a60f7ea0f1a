import type { ConfirmChannel, Message, Options } from 'amqplib'
import { systemClock } from '../../../lib/async/clock.ts'
import { type Describe, replyCode } from '../connection/address.ts'
import { closeQuietly } from '../connection/link.ts'
import { confirmed, refused, tooLarge, unknown, unroutable } from '../../shared/outcomes.ts'
import { type Answer, notEncoded } from './outcomes.ts'
import { createPassage, type Passage } from './passage.ts'
import { findBack, idOf, type Pending, unlink } from './pending.ts'
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
 * Tells apart two copies of one message that are on the way at the same time; only then is it set.
 */
export const COPY_HEADER = 'x-mersal-copy'

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
 * Without any movement on the link for so many times the time for a confirm, what is on the way is
 * given up.
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
  /** Hears of the end of the channel, and of the broker's size limit if that was broken. */
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
  readonly #pending = new Map<number, Pending>()
  /** The last one written of each message id. */
  readonly #byId = new Map<string, Pending>()
  #lastTag = 0
  #timer: NodeJS.Timeout | undefined
  #problem: unknown
  #open = true
  #silent = false

  constructor(
    channel: ConfirmChannel,
    { timeoutMs, describe, endsWhenSilent, onClose, question, buffered = () => 0 }: LaneOptions,
  ) {
    this.#channel = channel
    this.#checkMs = Math.max(5, Math.min(timeoutMs / CHECKS, LONGEST_CHECK_MS))
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
    const { exchange, routingKey, content } = parcel
    const id = idOf(parcel.properties)
    const earlier = this.#byId.get(id)
    const same = findBack(
      earlier,
      (pending) => pending.exchange === exchange && pending.routingKey === routingKey,
    )
    const copy = (same?.copy ?? -1) + 1
    const { properties } = parcel
    const marked =
      copy > 0
        ? { ...properties, headers: { ...(properties.headers as object), [COPY_HEADER]: copy } }
        : properties
    this.#wire.write(parcel, content, marked)
    const tag = ++this.#lastTag
    const [bytes, writtenAt] = [content.length, systemClock.monotonic()]
    const end = this.#passage.wrote(tag, bytes)
    this.#pending.set(tag, {
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
      expired: false,
    })
    this.#byId.set(id, this.#pending.get(tag) as Pending)
    this.#timer ??= setTimeout(() => this.#expire(), this.#checkMs)
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
    if (this.#open) await this.#channel.close()
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
  #returned({ fields, properties }: Message): void {
    const copy = Number(properties.headers?.[COPY_HEADER] ?? 0)
    const pending = findBack(
      this.#byId.get(idOf(properties)),
      (each) =>
        each.exchange === fields.exchange &&
        each.routingKey === fields.routingKey &&
        each.copy === copy,
    )
    if (pending === undefined) return
    const kind = fields.exchange === '' ? 'queue' : 'topic'
    pending.returned = unroutable({ kind, name: fields.routingKey })
  }

  #tagsUpTo(last: number): number[] {
    const tags: number[] = []
    for (const tag of this.#pending.keys()) {
      if (tag > last) break
      tags.push(tag)
    }
    return tags
  }

  #take(tag: number): Pending | undefined {
    const pending = this.#pending.get(tag)
    if (pending === undefined) return undefined
    this.#pending.delete(tag)
    const last = this.#byId.get(pending.id)
    if (last !== pending) unlink(last, pending)
    else if (pending.earlier === undefined) this.#byId.delete(pending.id)
    else this.#byId.set(pending.id, pending.earlier)
    return pending
  }

  /**
   * Answers what has waited too long; it stays on record, so that a late return still finds its own
   * copy.
   */
  #expire(): void {
    this.#timer = undefined
    const now = systemClock.monotonic()
    this.#passage.forget(now - 2 * this.#timeoutMs)
    for (const [tag, pending] of this.#pending) {
      if (pending.expired) continue
      const restMs = this.#restOf(tag, pending, now)
      if (restMs > 0) {
        this.#timer = setTimeout(() => this.#expire(), Math.ceil(restMs))
        return
      }
      pending.expired = true
      // It no longer counts as on the way, or it would hold up others.
      this.#passage.reached(tag, pending.end)
      this.#silent = this.#endsWhenSilent
      pending.settle(unknown(`RabbitMQ did not confirm the message within ${this.#timeoutMs} ms`))
    }
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
    if (!this.#silent || !this.#open) return
    for (const { expired } of this.#pending.values()) if (!expired) return
    void closeQuietly(this.#channel)
  }

  #closed(onClose: LaneOptions['onClose']): void {
    this.#open = false
    clearTimeout(this.#timer)
    const text =
      this.#problem === undefined ? 'the channel was closed' : this.#describe(this.#problem)
    const limit = replyCode(this.#problem) === 406 ? TOO_LARGE.exec(text)?.[1] : undefined
    const culprit = limit === undefined ? undefined : this.#firstAbove(Number(limit))
    // Before the answers: what was not taken is sent again at once, and by then the limit must be
    // known.
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
    for (const [tag, { bytes }] of this.#pending) if (bytes > limit) return tag
    return undefined
  }
}
