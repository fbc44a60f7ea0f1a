import type { ConfirmChannel, Message, Options } from 'amqplib'
import { MersalError } from '../../core/errors.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { systemClock } from '../../lib/clock.ts'
import { type Describe, replyCode } from './address.ts'
import { closeQuietly } from './link.ts'
import { Wire } from './wire.ts'

/** What is written for one message. */
export interface Parcel {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly properties: Options.Publish
}

/**
 * The answer to one parcel. `not-taken`: the channel was closed because of an earlier parcel, and the
 * broker ignores whatever follows on a closed channel; so it may be written again at once.
 */
export type Answer = PublishOutcome | { readonly kind: 'not-taken' }

/** The content itself is not kept: what was written belongs to the socket. */
interface Pending {
  readonly id: string
  readonly exchange: string
  readonly routingKey: string
  /** Written before, with the same id, and unanswered. */
  earlier: Pending | undefined
  readonly bytes: number
  readonly deadline: number
  readonly copy: number
  readonly settle: (answer: Answer) => void
  returned: MersalError | undefined
  expired: boolean
}

/** Tells apart two copies of one message that are on the way at the same time; only then is it set. */
export const COPY_HEADER = 'x-mersal-copy'

const confirmed: PublishOutcome = { kind: 'confirmed' }

function unknown(text: string): PublishOutcome {
  return { kind: 'unknown', error: new MersalError('MERSAL_UNKNOWN_OUTCOME', text) }
}

/** The last one, from this one back, of which that is true. */
function findBack(last: Pending | undefined, isIt: (pending: Pending) => boolean): Pending | undefined {
  for (let pending = last; pending !== undefined; pending = pending.earlier) if (isIt(pending)) return pending
  return undefined
}

function unlink(last: Pending | undefined, gone: Pending): void {
  const later = findBack(last, ({ earlier }) => earlier === gone)
  if (later !== undefined) later.earlier = gone.earlier
}

const idOf = ({ messageId }: { readonly messageId?: unknown }): string => (typeof messageId === 'string' ? messageId : '')

/** Text of RabbitMQ's refusal of a body above `max_message_size` (rabbit_channel.erl, `check_msg_size`). */
const TOO_LARGE = /message size \d+ is larger than (?:configured )?max size (\d+)/

export interface LaneOptions {
  readonly timeoutMs: number
  readonly describe: Describe
  /** Takes nothing more after a confirm that did not come in time, and closes when nobody waits for an answer any more. */
  readonly endsWhenSilent: boolean
  /** Hears of the end of the channel, and of the broker's size limit if that was broken. */
  readonly onClose: (brokerLimit: number | undefined) => void
}

/**
 * One channel in confirm mode with a record of its own of what is unanswered, since a client library
 * may lose confirms. Delivery tags count from 1 in the order of writing.
 */
export class ConfirmLane {
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

  constructor(channel: ConfirmChannel, { timeoutMs, describe, endsWhenSilent, onClose }: LaneOptions) {
    this.#channel = channel
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

  /** Writes the parcel. Throws, without having written anything, if it cannot be encoded. */
  write(parcel: Parcel, settle: (answer: Answer) => void): void {
    const { exchange, routingKey, content } = parcel
    const id = idOf(parcel.properties)
    const earlier = this.#byId.get(id)
    const same = findBack(earlier, (pending) => pending.exchange === exchange && pending.routingKey === routingKey)
    const copy = (same?.copy ?? -1) + 1
    const { properties } = parcel
    const marked = copy > 0 ? { ...properties, headers: { ...(properties.headers as object), [COPY_HEADER]: copy } } : properties
    this.#wire.write(parcel, content, marked)
    const deadline = systemClock.monotonic() + this.#timeoutMs
    const bytes = content.length
    const pending: Pending = { id, exchange, routingKey, earlier, bytes, deadline, copy, settle, returned: undefined, expired: false }
    this.#pending.set(++this.#lastTag, pending)
    this.#byId.set(id, pending)
    this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs)
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
      if (pending.returned !== undefined) {
        pending.settle({ kind: 'refused', reason: 'unroutable', error: pending.returned, permanent: false })
      } else if (positive) {
        pending.settle(confirmed)
      } else {
        const error = new MersalError('MERSAL_REFUSED', `RabbitMQ refused the message for '${pending.routingKey}' (nack)`)
        pending.settle({ kind: 'refused', reason: 'refused', error, permanent: false })
      }
    }
    this.#endIfDone()
  }

  /** RabbitMQ returns an unroutable message first and acknowledges it afterwards, as if nothing had happened. */
  #returned({ fields, properties }: Message): void {
    const copy = Number(properties.headers?.[COPY_HEADER] ?? 0)
    const pending = findBack(
      this.#byId.get(idOf(properties)),
      (each) => each.exchange === fields.exchange && each.routingKey === fields.routingKey && each.copy === copy,
    )
    if (pending === undefined) return
    const place = fields.exchange === '' ? `there is no queue '${fields.routingKey}'` : `no queue takes '${fields.routingKey}'`
    pending.returned = new MersalError('MERSAL_UNROUTABLE', `${place}: RabbitMQ returned the message`)
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

  /** Answers what has waited too long; it stays on record, so that a late return still finds its own copy. */
  #expire(): void {
    this.#timer = undefined
    const now = systemClock.monotonic()
    for (const pending of this.#pending.values()) {
      if (pending.expired) continue
      if (pending.deadline > now) {
        this.#timer = setTimeout(() => this.#expire(), Math.ceil(pending.deadline - now))
        return
      }
      pending.expired = true
      this.#silent = this.#endsWhenSilent
      pending.settle(unknown(`RabbitMQ did not confirm the message within ${this.#timeoutMs} ms`))
    }
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (!this.#silent || !this.#open) return
    for (const { expired } of this.#pending.values()) if (!expired) return
    void closeQuietly(this.#channel)
  }

  #closed(onClose: LaneOptions['onClose']): void {
    this.#open = false
    clearTimeout(this.#timer)
    const text = this.#problem === undefined ? 'the channel was closed' : this.#describe(this.#problem)
    const limit = replyCode(this.#problem) === 406 ? TOO_LARGE.exec(text)?.[1] : undefined
    const culprit = limit === undefined ? undefined : this.#firstAbove(Number(limit))
    // Before the answers: what was not taken is sent again at once, and by then the limit must be known.
    onClose(limit === undefined ? undefined : Number(limit))
    for (const tag of this.#tagsUpTo(Number.POSITIVE_INFINITY)) {
      const pending = this.#take(tag)
      if (culprit !== undefined && tag === culprit) pending?.settle(tooLarge(pending.bytes, Number(limit)))
      else if (culprit !== undefined && tag > culprit) pending?.settle({ kind: 'not-taken' })
      else pending?.settle(unknown(`the channel was closed before RabbitMQ confirmed the message: ${text}`))
    }
  }

  #firstAbove(limit: number): number | undefined {
    for (const [tag, { bytes }] of this.#pending) if (bytes > limit) return tag
    return undefined
  }
}

export function tooLarge(bytes: number, limit: number): PublishOutcome {
  const error = new MersalError('MERSAL_TOO_LARGE', `the message has ${bytes} bytes; the limit is ${limit}`, { details: { bytes, limit } })
  return { kind: 'refused', reason: 'too-large', error, permanent: true }
}
