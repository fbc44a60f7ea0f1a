import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { HEADER_BYTES, historyWith } from '../../../core/errors/attempts.ts'
import type { Disposition } from '../../../core/transport.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { asideMs, deadText } from '../../shared/aside.ts'
import {
  deadKeyOf,
  type HeaderTable,
  headerTable,
  numberIn,
  ownHeaders,
} from '../publish/envelope.ts'
import {
  type Arrival,
  type BegunHere,
  createBegunHere,
  type Known,
  KnownDeliveries,
} from '../connection/known.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { RabbitSettings } from '../options.ts'
import { RetryLadder } from './retry-ladder.ts'
import { type CopyTo, Mover } from './mover.ts'
import { deadQueueOf, retryQueueOf, type Topology } from '../topology/topology.ts'

/** A copy of it cannot be written, so that it cannot be tried again. */
export function tooLarge(): Kind<'reject'> {
  const text =
    'it cannot be copied: its headers leave no room in a frame of AMQP for the count of its attempts (shorten them, or raise frame_max), or its body is larger than the broker takes now (max_message_size)'
  return { kind: 'reject', reason: 'too-large', error: new Error(text) }
}

/** How long a message is kept from coming again that nobody can move, in milliseconds. */
const STAYS_MS = 5000

/**
 * What the broker is told about a delivery: it may go, it stays in the queue, it goes to the dead
 * letters as it is.
 */
export type Answer = 'ack' | 'requeue' | 'pass-on'

/** A delivery that is in hand. */
export interface Hold {
  readonly queue: string
  readonly message: ConsumeMessage
  readonly arrival: Arrival
  readonly known: Known
  /** Called once, at the end. */
  readonly answer: (how: Answer) => void
  /** Aborts when the channel is gone, and the broker delivers the message again. */
  readonly lost: AbortSignal
  /** The handler is to give up: the channel is gone, or the transport is closed by force. */
  readonly givingUp: GivingUp
  /** Aborts when the consumer stops: then nothing is tried a second time. */
  readonly stopping: AbortSignal
  /** Of a delivery whose other parts go elsewhere, so that it cannot be passed on alone. */
  readonly isPart?: boolean
  /** Called when it can go nowhere for now, and stays in its queue. */
  readonly onStay?: () => void
}

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

function history({ message, known }: Hold, error: Error): string {
  const failure = { attempt: known.attempt, at: systemClock.now(), error }
  return historyWith(headerTable(message)[ownHeaders.history], failure, HEADER_BYTES)
}

const KEPT = [
  ownHeaders.history,
  ownHeaders.postponedSince,
  ownHeaders.aside,
  ownHeaders.reason,
  ownHeaders.error,
]

function unchanged({ message, known }: Hold): HeaderTable {
  const given = headerTable(message)
  const kept = KEPT.filter((name) => given[name] !== undefined).map((name) => [name, given[name]])
  return { ...Object.fromEntries(kept), ...marks(known, known.attempt) }
}

function marks({ lineage }: Known, attempt: number): HeaderTable {
  return { [ownHeaders.attempt]: attempt, [ownHeaders.lineage]: lineage }
}

/**
 * Does what the handler's side decided. A message leaves its queue only after its copy has been
 * confirmed elsewhere.
 */
export class Settler {
  readonly #mover: Mover
  readonly #topology: Topology
  readonly #settings: RabbitSettings
  readonly #ladder = new RetryLadder()
  readonly #retryQueues = new Set<string>()
  /** Of all queues. */
  readonly deliveries: KnownDeliveries = new KnownDeliveries()
  /** Of all queues that are read in order. */
  readonly begunHere: BegunHere = createBegunHere()
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(publisher: Publisher, topology: Topology, settings: RabbitSettings) {
    this.#mover = new Mover(publisher, topology, settings, {
      confirmed: (queue) => this.#ladder.confirmed(queue),
      silent: (queue) => this.#ladder.silent(queue),
      missing: (queue) => this.#retryQueues.delete(queue),
    })
    this.#topology = topology
    this.#settings = settings
  }

  /** Never rejects. */
  async settle(hold: Hold, disposition: Disposition): Promise<void> {
    switch (disposition.kind) {
      case 'ack':
        return hold.answer('ack')
      case 'release':
        return this.#release(hold)
      case 'retry':
        return this.#retry(hold, disposition)
      case 'reject': {
        const move = this.#reject(hold, disposition)
        return this.#move(hold, () => move)
      }
      default:
        return disposition satisfies never
    }
  }

  /**
   * What `settle` would tell the broker, for the caller to tell it. Undefined: the message is lost.
   */
  async answerTo(
    hold: Omit<Hold, 'answer'>,
    disposition: Disposition,
  ): Promise<Answer | undefined> {
    let how: Answer | undefined
    const answer = (given: Answer): void => void (how = given)
    await this.settle({ ...hold, answer }, disposition)
    return how
  }

  /**
   * Milliseconds that this message still has to wait, because its delay is longer than the longest
   * retry queue.
   */
  waitOf({ message }: Hold): number {
    return numberIn(headerTable(message), ownHeaders.wait, 1, 0)
  }

  async waitAgain(hold: Hold): Promise<void> {
    return this.#move(hold, () => this.#after(hold.queue, this.waitOf(hold), unchanged(hold)))
  }

  /**
   * RabbitMQ counts what is given back as a delivery, so a copy with the old count takes its place
   * at the end of the queue. Where the order matters more, the message keeps its place and is
   * counted.
   */
  async #release(hold: Hold): Promise<void> {
    hold.known.givenBack = true
    if (this.#settings.singleActiveConsumer) return hold.answer('requeue')
    this.deliveries.copied(hold.known)
    return this.#move(hold, () => ({
      target: hold.queue,
      headers: unchanged(hold),
      dead: false,
      once: true,
    }))
  }

  /**
   * Puts a message of a bundle at the end of the queue by itself, with the same attempt. False if
   * that could not be done now.
   */
  async moveApart(hold: Hold): Promise<boolean> {
    const step = { target: hold.queue, headers: unchanged(hold), dead: false }
    const result = await this.#mover.once(hold, step)
    if (result === 'no-room' || result.kind !== 'moved') return false
    hold.answer('ack')
    return true
  }

  #retry(hold: Hold, { delayMs, error, postponedSince }: Kind<'retry'>): Promise<void> {
    const { known, queue } = hold
    const wish = postponedSince !== undefined
    const since = wish ? { [ownHeaders.postponedSince]: String(Math.round(postponedSince)) } : {}
    const past = wish ? {} : { [ownHeaders.history]: history(hold, error) }
    // A wish keeps its number, but the next delivery is another step.
    const lineage = wish ? { [ownHeaders.lineage]: (known.next ??= randomUUID()) } : {}
    const headers = {
      ...unchanged(hold),
      ...marks(known, known.attempt + (wish ? 0 : 1)),
      ...since,
      ...past,
      ...lineage,
    }
    return this.#move(hold, () => this.#after(queue, delayMs, headers))
  }

  #after(queue: string, delayMs: number, headers: HeaderTable): CopyTo {
    if (!(delayMs > 0)) return { target: queue, headers, dead: false }
    const step = this.#ladder.stepFor(queue, delayMs)
    const rest = Math.ceil(delayMs - step)
    return {
      target: retryQueueOf(queue, step),
      headers: rest > 0 ? { ...headers, [ownHeaders.wait]: rest } : headers,
      prepare: () => this.#prepareRetryQueue(queue, step),
      dead: false,
    }
  }

  async #prepareRetryQueue(queue: string, delayMs: number): Promise<void> {
    const name = retryQueueOf(queue, delayMs)
    if (this.#retryQueues.has(name)) return
    await this.#topology.retryQueue(queue, delayMs)
    this.#retryQueues.add(name)
  }

  #reject(hold: Hold, { reason, error }: Kind<'reject'>): CopyTo {
    const { message, queue, known } = hold
    const headers = {
      [ownHeaders.deadKey]: deadKeyOf(message),
      [ownHeaders.reason]: reason,
      [ownHeaders.error]: deadText(error),
      [ownHeaders.attempts]: known.attempt,
      [ownHeaders.diedAt]: String(systemClock.now()),
      [ownHeaders.history]: history(hold, error),
    }
    return { target: deadQueueOf(queue), headers, dead: true }
  }

  /** The dead letters take nothing: it waits with its reason, so that it holds up nobody. */
  #aside(hold: Hold, { headers: given }: CopyTo): CopyTo {
    const times = numberIn(headerTable(hold.message), ownHeaders.aside, 1, 0)
    const kept = [ownHeaders.reason, ownHeaders.error, ownHeaders.history].map((name) => [
      name,
      given[name],
    ])
    const headers = {
      ...unchanged(hold),
      ...Object.fromEntries(kept),
      [ownHeaders.aside]: times + 1,
    }
    return this.#after(hold.queue, asideMs(times > 0), headers)
  }

  /** `next`: each try may have another target. */
  async #move(hold: Hold, next: () => CopyTo): Promise<void> {
    const ending = await this.#mover.move(hold, {
      next,
      aside: (dead) => this.#aside(hold, dead),
      noRoom: () => this.#reject(hold, tooLarge()),
    })
    switch (ending.kind) {
      case 'moved':
        if (hold.known.decided !== undefined) hold.known.settled = true
        // Never recorded again; an error may hold whatever its thrower had.
        hold.known.decided = undefined
        return hold.answer('ack')
      case 'give-back':
        return hold.answer('requeue')
      case 'impossible':
        return this.#lastResort(hold, ending.step)
      case 'lost':
        return undefined
      default:
        return ending satisfies never
    }
  }

  /**
   * The copy cannot even be written, so the broker itself moves the message to the dead letters, if
   * we know that it will. Else it stays in its queue, and must not come again at once for ever.
   */
  async #lastResort(hold: Hold, { dead, target }: CopyTo): Promise<void> {
    const { topology, logger } = this.#settings
    const { queue, message, lost, stopping, isPart = false, onStay = () => {} } = hold
    if (dead && topology === 'declare' && !isPart) return hold.answer('pass-on')
    onStay()
    if (this.#isNews(`${queue} stays`))
      logger.error(
        { queue, target, id: String(message.properties.messageId), bytes: message.content.length },
        'a message cannot be copied to where it should go, so it stays in its queue',
      )
    await systemClock.sleep(STAYS_MS, AbortSignal.any([lost, stopping]))
    hold.answer('requeue')
  }
}
