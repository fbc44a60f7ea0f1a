import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { errorFields, errorText, errorTextWithStack } from '../../../core/errors/error-text.ts'
import { isMersalError } from '../../../core/errors/errors.ts'
import type { Disposition, PublishOutcome } from '../../../core/transport.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { asideMs, asideText, cannotBury } from '../../shared/aside.ts'
import type { Parcel } from '../publish/confirms.ts'
import {
  deadKeyOf,
  type HeaderTable,
  headerTable,
  numberIn,
  ownHeaders,
} from '../publish/envelope.ts'
import { type Arrival, type Known, KnownDeliveries } from '../connection/known.ts'
import type { Publisher } from '../publish/publisher.ts'
import { stopOn } from '../../shared/stop.ts'
import type { RabbitSettings } from '../options.ts'
import { RetryLadder } from './retry-ladder.ts'
import { doesNotFit, slimmer } from './slimmer.ts'
import { deadQueueOf, retryQueueOf, type Topology } from '../topology/topology.ts'

const pause = { firstMs: 250, longestMs: 5000 }
const HISTORY_LENGTH = 10
const noRoom =
  'its headers leave no room in a frame of AMQP for the count of its attempts: shorten them, or raise frame_max'
/** After so many refusals of the dead-letter queue a message is set aside. */
const MOST_REFUSALS = 2

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
  /** Aborts when the consumer stops: then nothing is tried a second time. */
  readonly stopping: AbortSignal
}

interface Move {
  readonly target: string
  readonly headers: HeaderTable
  readonly prepare: () => Promise<void>
  readonly dead: boolean
  /** Give the message back when the first try fails. */
  readonly once?: boolean
}

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

const nothing = (): Promise<void> => Promise.resolve()

function history({ message, known }: Hold, error: Error): string {
  let earlier: unknown[] = []
  try {
    const given = headerTable(message)[ownHeaders.history]
    const parsed: unknown = JSON.parse(typeof given === 'string' ? given : '[]')
    if (Array.isArray(parsed)) earlier = parsed
  } catch {
    // A foreign header of that name: the history begins here.
  }
  const entry = {
    attempt: known.attempt,
    at: systemClock.now(),
    error: errorText(error).slice(0, 300),
  }
  return JSON.stringify([...earlier.slice(1 - HISTORY_LENGTH), entry])
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
  readonly #publisher: Publisher
  readonly #topology: Topology
  readonly #settings: RabbitSettings
  readonly #ladder = new RetryLadder()
  readonly #retryQueues = new Set<string>()
  /** Of all queues. */
  readonly deliveries: KnownDeliveries = new KnownDeliveries()
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(publisher: Publisher, topology: Topology, settings: RabbitSettings) {
    this.#publisher = publisher
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
      prepare: nothing,
      dead: false,
      once: true,
    }))
  }

  /**
   * Puts a message of a bundle at the end of the queue by itself, with the same attempt. False if
   * that could not be done now.
   */
  async moveApart(hold: Hold): Promise<boolean> {
    const moved = await this.#attempt(hold, {
      target: hold.queue,
      headers: unchanged(hold),
      prepare: nothing,
      dead: false,
    })
    if (moved !== 'moved') return false
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

  #after(queue: string, delayMs: number, headers: HeaderTable): Move {
    if (!(delayMs > 0)) return { target: queue, headers, prepare: nothing, dead: false }
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

  #reject(hold: Hold, { reason, error }: Kind<'reject'>): Move {
    const { message, queue, known } = hold
    const headers = {
      [ownHeaders.deadKey]: deadKeyOf(message),
      [ownHeaders.reason]: reason,
      [ownHeaders.error]: asideText(error) ?? errorTextWithStack(error),
      [ownHeaders.attempts]: known.attempt,
      [ownHeaders.diedAt]: String(systemClock.now()),
      [ownHeaders.history]: history(hold, error),
    }
    return { target: deadQueueOf(queue), headers, prepare: nothing, dead: true }
  }

  /** The dead letters take nothing: it waits with its reason, so that it holds up nobody. */
  #aside(hold: Hold, { headers: given }: Move): Move {
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

  /**
   * Tries until the copy is confirmed, the message is lost to another consumer, or the consumer
   * stops. Each try may have another target.
   */
  async #move(hold: Hold, next: () => Move): Promise<void> {
    let refusals = 0
    let grave: Move | undefined
    for (let failures = 1; !hold.lost.aborted; failures++) {
      const wanted = grave ?? next()
      const move = wanted.dead && refusals >= MOST_REFUSALS ? this.#aside(hold, wanted) : wanted
      const result = await this.#attempt(hold, move)
      if (result === 'moved') {
        if (hold.known.decided !== undefined) hold.known.settled = true
        return hold.answer('ack')
      }
      if (result === 'no-room') {
        // The count of its attempts cannot travel with it, so it would be tried without end.
        grave = this.#reject(hold, {
          kind: 'reject',
          reason: 'too-large',
          error: new Error(noRoom),
        })
        continue
      }
      if (result === 'impossible') return hold.answer(this.#lastResort(move))
      if (move.once === true) return hold.answer('requeue')
      if (
        move.dead &&
        (isMersalError(result, 'MERSAL_UNROUTABLE') || isMersalError(result, 'MERSAL_REFUSED'))
      )
        refusals++
      this.#tell(hold, move, result)
      if (refusals === MOST_REFUSALS && move.dead) continue
      if (!hold.stopping.aborted)
        await systemClock.sleep(
          backoffMs(pause, failures, Math.random),
          AbortSignal.any([hold.lost, hold.stopping]),
        )
      if (hold.stopping.aborted) return hold.answer('requeue')
    }
  }

  #tell({ queue }: Hold, { target, dead }: Move, error: Error): void {
    const { logger } = this.#settings
    const fields = { queue, target, ...errorFields(error) }
    const level = this.#isNews(`${target} ${fields.code}`) ? (dead ? 'error' : 'warn') : 'debug'
    logger[level](fields, dead ? cannotBury : 'a message could not be moved yet')
  }

  /** With as much of the headers as fits into a frame. */
  async #copy({ message, lost }: Hold, move: Move): Promise<PublishOutcome> {
    let outcome: PublishOutcome | undefined
    for (const properties of slimmer(message, move)) {
      const parcel: Parcel = {
        exchange: '',
        routingKey: move.target,
        content: message.content,
        properties,
      }
      outcome = await this.#publisher.send(parcel, stopOn(lost))
      if (!doesNotFit(outcome)) break
    }
    return outcome as PublishOutcome
  }

  async #attempt(hold: Hold, move: Move): Promise<'moved' | 'impossible' | 'no-room' | Error> {
    const { known } = hold
    try {
      await move.prepare()
    } catch (error) {
      return error as Error
    }
    const began = systemClock.monotonic()
    const outcome = await this.#copy(hold, move)
    if (outcome.kind === 'confirmed') {
      this.#ladder.confirmed(move.target)
      return 'moved'
    }
    // A lost connection answers earlier; a timer may be early by a millisecond.
    const waited = systemClock.monotonic() - began
    if (outcome.kind === 'unknown' && waited >= this.#settings.confirmTimeoutMs - 1)
      this.#ladder.silent(move.target)
    if (outcome.kind === 'unknown') known.doubled = true
    if (outcome.kind !== 'refused') return outcome.error
    if (outcome.permanent) return doesNotFit(outcome) && !move.dead ? 'no-room' : 'impossible'
    if (outcome.reason === 'unroutable') await this.#mend(move)
    return outcome.error
  }

  /** Somebody deleted the queue: it is made again if it is ours to make. */
  async #mend(move: Move): Promise<void> {
    this.#retryQueues.delete(move.target)
    if (!move.dead) return
    try {
      await this.#topology.queue(move.target.slice(0, -deadQueueOf('').length))
    } catch (error) {
      this.#settings.logger.warn(errorFields(error), 'the dead-letter queue could not be made')
    }
  }

  /**
   * The copy cannot even be written, so the broker itself moves the message to the dead letters, if
   * we know that it will.
   */
  #lastResort({ dead }: Move): Answer {
    return dead && this.#settings.topology === 'declare' ? 'pass-on' : 'requeue'
  }
}
