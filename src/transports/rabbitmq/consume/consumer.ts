import type { Channel, ConsumeMessage } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { errorFields } from '../../../core/errors/error-text.ts'
import type { Consumption, Disposition } from '../../../core/transport.ts'
import { aborted } from '../../../lib/async/abort.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import type { Describe } from '../../shared/describe.ts'
import { headerTable, ownHeaders } from '../publish/envelope.ts'
import { arrivalOf, passing } from '../connection/known.ts'
import { answered, closeQuietly, type RabbitLink } from '../connection/client.ts'
import { handleBundle, isBundle } from '../connection/opened.ts'
import type { RabbitSettings } from '../options.ts'
import { setAside } from '../../shared/aside.ts'
import { inHand, type OnDelivery } from '../../shared/deliver.ts'
import { trouble } from '../../shared/receiving/trouble.ts'
import { type Answers, createAnswers } from './answers.ts'
import { ask } from './ask.ts'
import type { Hold, Settler } from './settle.ts'
import { createSlots, inSlot, type Slots } from '../../shared/receiving/slots.ts'

/**
 * It could not be stored as a dead letter when it was given up; with what had been decided then.
 */
export function asideOf(message: ConsumeMessage): ReturnType<typeof setAside> | undefined {
  const {
    [ownHeaders.aside]: aside,
    [ownHeaders.reason]: reason,
    [ownHeaders.error]: error,
  } = headerTable(message)
  return aside === undefined || typeof reason !== 'string'
    ? undefined
    : setAside(reason, typeof error === 'string' ? error : null)
}

const backoff = { firstMs: 500, longestMs: 3000 }

export interface ConsumerParts {
  readonly link: RabbitLink
  readonly settler: Settler
  readonly settings: RabbitSettings
  readonly describe: Describe
  /** Makes the queue and its bindings again, or looks whether they are there. */
  readonly prepare: () => Promise<void>
}

/** Where a delivery comes from. */
interface Place extends Pick<Hold, 'lost' | 'givingUp'> {
  readonly answers: Answers
}

interface Consuming {
  readonly channel: Channel
  readonly consumerTag: string
  readonly answers: Answers
}

/** Receives from one queue, on a channel of its own that is made anew when it is lost. */
export class Consumer implements AsyncDisposable {
  readonly #parts: ConsumerParts
  readonly #consumption: Consumption
  readonly #onDelivery: OnDelivery
  readonly #stopping = new AbortController()
  readonly #forced = new AbortController()
  readonly #inHand = inHand()
  #current: Consuming | undefined
  #resuming: Promise<void> | undefined
  #disposing: Promise<void> | undefined

  constructor(parts: ConsumerParts, consumption: Consumption, onDelivery: OnDelivery) {
    this.#parts = parts
    this.#consumption = consumption
    this.#onDelivery = onDelivery
  }

  get queue(): string {
    return this.#consumption.queue
  }

  /** Rejects if the first try fails; afterwards it recovers by itself. */
  async start(): Promise<void> {
    const { link, prepare, describe, settings } = this.#parts
    const { queue, concurrency } = this.#consumption
    await prepare()
    const { connection } = await link.connection()
    const channel = await answered(settings.connectTimeoutMs, connection.createChannel())
    const lost = new AbortController()
    let problem: unknown
    channel.on('error', (error) => {
      problem = error
    })
    channel.on('close', () => {
      const text = problem === undefined ? 'the channel was closed' : describe(problem)
      const error = new MersalError('MERSAL_UNAVAILABLE', `queue '${queue}': ${text}`)
      lost.abort(error)
      this.#lost(channel, error)
    })
    try {
      await answered(settings.connectTimeoutMs, this.#listen(channel, concurrency, lost.signal))
    } catch (error) {
      await closeQuietly(channel)
      throw new MersalError(
        'MERSAL_UNAVAILABLE',
        `queue '${queue}' cannot be consumed: ${describe(problem ?? error)}`,
      )
    }
    if (lost.signal.aborted) throw lost.signal.reason
  }

  /** Gives up the channel, and begins again as after any loss. */
  async letGo(): Promise<void> {
    this.#current?.answers.flush()
    if (this.#current !== undefined) await closeQuietly(this.#current.channel)
  }

  /** Tells the handlers that their messages are lost; the connection is about to be closed. */
  force(reason: Error): void {
    this.#stopping.abort(reason)
    this.#forced.abort(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#disposing ??= this.#dispose())
  }

  async #dispose(): Promise<void> {
    this.#stopping.abort(new MersalError('MERSAL_APP_STOPPED', 'the consumer stops'))
    await this.#resuming
    const { connectTimeoutMs } = this.#parts.settings
    const current = this.#current
    if (current !== undefined) {
      try {
        await answered(connectTimeoutMs, current.channel.cancel(current.consumerTag))
      } catch {
        // The channel is lost, and so nothing more comes through it.
      }
    }
    await this.#inHand.settled()
    current?.answers.flush()
    this.#current = undefined
    if (current !== undefined) await answered(connectTimeoutMs, closeQuietly(current.channel))
  }

  async #listen(channel: Channel, concurrency: number, lost: AbortSignal): Promise<void> {
    await channel.prefetch(Math.max(concurrency, this.#parts.settings.prefetch))
    const slots = createSlots(concurrency, lost, this.#stopping.signal)
    const answers = createAnswers(channel, lost)
    // One for all deliveries of the channel, which are lost together.
    const givingUp = linkAbort(lost, this.#forced.signal)
    givingUp.follow(() => givingUp[Symbol.dispose]())
    const receive = (message: ConsumeMessage | null): void => {
      // The broker cancelled: the queue was deleted or moved. Closing leads to a new beginning.
      if (message === null) void closeQuietly(channel)
      else this.#receive(this.#holdOf(message, { answers, lost, givingUp }), slots)
    }
    const { consumerTag } = await channel.consume(this.#consumption.queue, receive)
    this.#current = { channel, consumerTag, answers }
  }

  #holdOf(message: ConsumeMessage, { answers, lost, givingUp }: Place): Hold {
    const { queue } = this.#consumption
    const arrival = arrivalOf(queue, message)
    return {
      message,
      arrival,
      known: passing(arrival),
      queue,
      lost,
      givingUp,
      stopping: this.#stopping.signal,
      answer: answers.to(message),
    }
  }

  #receive(hold: Hold, slots: Slots): void {
    this.#inHand.add(this.#handle(hold, slots))
  }

  async #handle(hold: Hold, slots: Slots): Promise<void> {
    const { settler, settings } = this.#parts
    // Came after the stop: not begun, so it goes back.
    if (this.#stopping.signal.aborted) return settler.settle(hold, { kind: 'release' })
    if (settler.waitOf(hold) > 0) return settler.waitAgain(hold)
    const aside = asideOf(hold.message)
    if (aside !== undefined) return settler.settle(hold, aside)
    if (!isBundle(hold.message))
      return this.#inTurn({ ...hold, known: settler.deliveries.meet(hold.arrival) }, slots)
    // Separate messages go to the end of the queue. Where the order matters more, a lost connection
    // must not do that.
    const apartAfter = settings.singleActiveConsumer ? 2 : 1
    return handleBundle(hold, {
      settler,
      inTurn: (member) => this.#inTurn(member, slots),
      apartAfter,
    })
  }

  /** The prefetch counts bundles, so the messages in them wait here. */
  #inTurn(hold: Hold, slots: Slots): Promise<void> {
    return inSlot(slots, () => this.#once(hold))
  }

  /**
   * What is in hand already, as another copy or from the channel before, is not handled beside
   * itself.
   */
  async #once(hold: Hold): Promise<void> {
    const { known, lost, stopping } = hold
    while (known.inHand !== undefined && !lost.aborted && !stopping.aborted) {
      await Promise.race([known.inHand.promise, aborted(lost), aborted(stopping)])
    }
    // The broker delivers it again.
    if (lost.aborted) return
    if (known.settled) return hold.answer('ack')
    if (known.inHand !== undefined) return hold.answer('requeue')
    known.inHand = Promise.withResolvers()
    try {
      await this.#decideAndSettle(hold)
    } finally {
      known.inHand.resolve()
      known.inHand = undefined
    }
  }

  /** What has been decided before its channel was lost is only recorded. */
  async #decideAndSettle(hold: Hold): Promise<void> {
    const { settler } = this.#parts
    const { known } = hold
    const disposition: Disposition =
      known.decided ?? (this.#stopping.signal.aborted ? { kind: 'release' } : await this.#ask(hold))
    if (disposition.kind !== 'release') known.decided = disposition
    await settler.settle(hold, disposition)
    if (disposition.kind !== 'ack') return
    known.settled = !hold.lost.aborted || known.doubled
    if (known.settled) return settler.deliveries.forget(hold.arrival, known)
    // It comes again, as delivered before; that it was handled is known to the inbox.
    known.decided = undefined
    known.attempt++
  }

  #ask({ message, queue, givingUp, known: { attempt } }: Hold): Promise<Disposition> {
    return ask(this.#onDelivery, { message, queue, attempt, givingUp })
  }

  #lost(channel: Channel, error: MersalError): void {
    if (this.#current?.channel !== channel) return
    this.#current = undefined
    if (this.#stopping.signal.aborted) return
    this.#parts.settings.logger.warn(
      { queue: this.#consumption.queue, ...errorFields(error) },
      'lost the hold on a queue; beginning again',
    )
    this.#consumption.onTrouble?.(error)
    this.#resuming ??= this.#resume()
  }

  async #resume(): Promise<void> {
    const { signal } = this.#stopping
    const told = trouble(this.#parts.settings.logger, this.#consumption)
    for (let failures = 1; !signal.aborted; failures++) {
      // The first try comes soon, too: a queue that vanishes at once again must not make a busy
      // loop.
      await systemClock.sleep(backoffMs(backoff, failures, Math.random), signal)
      if (signal.aborted) break
      try {
        await this.start()
        this.#consumption.onTrouble?.(undefined)
        break
      } catch (error) {
        told.tell(error)
      }
    }
    this.#resuming = undefined
  }
}
