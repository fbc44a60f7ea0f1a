import { randomUUID } from 'node:crypto'
import { errorFields } from '../../core/errors/error-text.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { aborted } from '../../lib/async/abort.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { delayOf } from '../queues/delay.ts'
import { storedDelivery } from '../queues/stored-delivery.ts'
import { asideMs, asideText, deadText } from '../shared/aside.ts'
import type { HeldQueueState } from '../shared/held-queue.ts'
import type { HeldMessages, Reject, Taken } from '../shared/receiving/held-messages.ts'
import { ask, type RedisLink, run } from './connection.ts'
import { isReply, wordOf } from './faults.ts'
import { scripts } from './scripts.ts'

/** After failures of the server. */
export const PAUSE: { readonly firstMs: number; readonly longestMs: number } = {
  firstMs: 250,
  longestMs: 1000,
}

/** What a settled message has made due. */
const NEXT_OF_ITS_KEY = 2

export interface QueueParts {
  readonly link: RedisLink
  readonly prefix: string
  readonly queue: string
  readonly visibilityMs: number
  readonly maxMessageBytes: number
  /** Of one key one message is in hand at a time, in their order. */
  readonly inOrder: boolean
  readonly logger: Logger
  /** Makes the queue again. */
  readonly prepare: () => Promise<void>
}

/** A message in hand, and the proof that it is ours. */
export interface TakenMessage {
  readonly place: string
  readonly token: string
  readonly fields: readonly unknown[]
}

/** The messages of one queue, as they are taken, held and settled. */
export class QueueMessages implements HeldMessages<TakenMessage> {
  readonly #parts: QueueParts
  readonly #state: HeldQueueState<TakenMessage>
  #dueAt = Infinity

  constructor(parts: QueueParts, state: HeldQueueState<TakenMessage>) {
    this.#parts = parts
    this.#state = state
  }

  async take(limit: number): Promise<Taken<TakenMessage>> {
    const { queue, visibilityMs, inOrder, prepare } = this.#parts
    const token = randomUUID()
    const order = inOrder ? '1' : ''
    const args = [queue, limit, visibilityMs, token, this.#largest, CLAIM_BYTES, order]
    const asked = systemClock.monotonic()
    const [entries, more, waitMs, missing] = (await this.#run('take', args)) as [
      readonly (readonly unknown[])[],
      number,
      number,
      number,
    ]
    if (missing === 1) await prepare()
    this.#dueAt = waitMs < 0 ? Infinity : asked + waitMs
    return {
      messages: entries.map((fields) => ({ place: String(fields[0]), token, fields })),
      more: more === 1 || missing === 1,
    }
  }

  nextDueMs(): number {
    return this.#dueAt - systemClock.monotonic()
  }

  deliveryOf({ fields }: TakenMessage, signal: AbortSignal): Delivery | Reject {
    const [, attempts, since, reason, error, withheld, id, type, headers, body] = fields
    const text = (value: unknown): string => String(value)
    const row = {
      attempts: Number(attempts),
      id: text(id),
      type: text(type),
      headers: text(headers),
      body: body as Uint8Array,
      withheldBytes: text(withheld) === '' ? undefined : Number(withheld),
      postponedSince: text(since) === '' ? null : Number(since),
      deadReason: text(reason) === '' ? null : text(reason),
      deadError: text(error),
    }
    return storedDelivery(row, this.#parts.queue, signal)
  }

  async renew(messages: readonly TakenMessage[]): Promise<ReadonlySet<TakenMessage>> {
    const { queue, visibilityMs } = this.#parts
    const pairs = messages.flatMap(({ place, token }) => [place, token])
    const kept = (await this.#run('renew', [queue, visibilityMs, ...pairs])) as readonly unknown[]
    const places = new Set(kept.map(String))
    return new Set(messages.filter(({ place }) => places.has(place)))
  }

  async settle(message: TakenMessage, disposition: Disposition): Promise<void> {
    const { closing, stopping } = this.#state
    let what = wordsOf(disposition)
    while (!closing.aborted) {
      try {
        const args = [this.#parts.queue, message.place, message.token, ...what]
        if (Number(await this.#run('settle', args)) === NEXT_OF_ITS_KEY) this.#state.ring()
        return
      } catch (error) {
        if (disposition.kind === 'reject' && what[0] === 'reject' && isOfTheLetter(error)) {
          this.#state.refused(error, 1)
          what = asideWords(disposition)
          continue
        }
        await this.#state.failed('recording what became of a message', error, closing)
        // It comes again by itself, after its time.
        if (disposition.kind === 'release' && stopping.aborted) return
      }
    }
  }

  /** Rings whenever something was published, and whenever the connection is there again. */
  async listen(ring: () => void, signal: AbortSignal): Promise<void> {
    const { link, prefix, queue, logger } = this.#parts
    const channel = `${prefix}bell:${queue}`
    for (let failures = 1; !signal.aborted; ) {
      try {
        const { connection, lost } = await link.connection()
        await connection.client.subscribe(channel, ring)
        failures = 1
        ring()
        await Promise.race([aborted(lost), aborted(signal)])
        if (!lost.aborted) await connection.client.unsubscribe(channel, ring)
      } catch (error) {
        // Whoever takes meets the same trouble, and says so.
        logger.debug({ queue, ...errorFields(error) }, 'redis: not listening for messages')
        await systemClock.sleep(backoffMs(PAUSE, failures++, Math.random), signal)
      }
    }
  }

  #run(name: 'take' | 'renew' | 'settle', args: readonly (string | number)[]): Promise<unknown> {
    const { link, prefix } = this.#parts
    return ask(link, (server) => run(server, scripts[name], prefix, args))
  }

  /** Messages with more bytes are not handed out. */
  get #largest(): number {
    return Math.max(LARGEST_ROW_BYTES, this.#parts.maxMessageBytes)
  }
}

/** The server takes everything else: a key of another kind, or a missing permission. */
function isOfTheLetter(error: unknown): boolean {
  return isReply(error) && ['WRONGTYPE', 'NOPERM', 'ERR'].includes(wordOf(error))
}

function wordsOf(disposition: Disposition): (string | number)[] {
  switch (disposition.kind) {
    case 'ack':
    case 'release':
      return [disposition.kind]
    case 'retry': {
      const { delayMs, postponedSince } = disposition
      const since = postponedSince === undefined ? '' : Math.round(postponedSince)
      return ['retry', Math.ceil(delayOf(delayMs)), since]
    }
    case 'reject':
      return ['reject', disposition.reason, deadText(disposition.error)]
    default:
      return disposition satisfies never
  }
}

function asideWords({ reason, error }: Reject): (string | number)[] {
  return ['aside', reason, deadText(error), asideMs(asideText(error) !== undefined)]
}
