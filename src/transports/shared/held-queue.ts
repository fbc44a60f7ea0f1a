import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Consumption, Disposition } from '../../core/transport.ts'
import { aborted, toError } from '../../lib/async/abort.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { cannotBury } from './aside.ts'
import { deliver, inHand, type OnDelivery } from './deliver.ts'
import type { HeldMessages } from './receiving/held-messages.ts'
import { createSlots, inSlot, type Slots } from './receiving/slots.ts'

export interface HeldQueueOptions {
  /** For texts, such as `postgres queue`. */
  readonly name: string
  readonly consumption: Consumption
  readonly onDelivery: OnDelivery
  /** Most messages that are held. What no hand is free for waits. Default: one for each hand. */
  readonly prefetch?: number
  /** How long a message is held unless it is renewed, in milliseconds. Infinity: for ever. */
  readonly visibilityMs: number
  /** Looks at least this often, in milliseconds. Infinity: only when something rings or is due. */
  readonly pollIntervalMs: number
  /** Waited after failures. */
  readonly pause: Backoff
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  /** Called before the first fetch after one that failed, which waits for it. */
  readonly look?: () => Promise<void>
}

/** What the messages are told of the queue that gives them out. */
export interface HeldQueueState<Message = never> {
  /** Aborts when nothing more is taken. */
  readonly stopping: AbortSignal
  /** Aborts when nothing more is recorded. */
  readonly closing: AbortSignal
  /** There may be something to take. */
  ring(): void
  /** How many hands are free while nothing waits for them. */
  idle(): number
  /**
   * Gives a message into a free hand that nobody took: it is held until then, by the monotonic
   * clock.
   */
  handOver(message: Message, until: number): void
  /** Logs a failure. */
  warn(doing: string, error: unknown): void
  /** Logs a failure, and waits before the next try; at once when `stop` aborts. */
  failed(doing: string, error: unknown, stop: AbortSignal): Promise<void>
  /** Logs that dead letters could not be stored. */
  refused(error: unknown, messages: number): void
}

interface Held<Message> {
  readonly message: Message
  readonly controller: AbortController
  /** Until when it is ours for certain, by our monotonic clock. */
  until: number
}

/**
 * Takes messages of one queue, hands them to the callback, holds them meanwhile and settles them,
 * until it is disposed.
 */
export class HeldQueue<Message> implements AsyncDisposable {
  readonly #options: HeldQueueOptions
  readonly #messages: HeldMessages<Message>
  readonly #held = new Set<Held<Message>>()
  readonly #hands: Slots
  readonly #running = inHand()
  readonly #stopping = new AbortController()
  readonly #closing = new AbortController()
  readonly #taking: Promise<void>
  readonly #others: Promise<unknown>
  /** An outage of an hour is sixty lines, and not thousands. */
  readonly #isNews: (text: string) => boolean
  /** Whoever hands something over does so in a context of his own. */
  readonly #inOwnContext = AsyncLocalStorage.snapshot()
  #rung = Promise.withResolvers<void>()
  #idle = false
  #failures = 0
  /** The last fetch has failed. */
  #isTroubled = false

  constructor(
    options: HeldQueueOptions,
    messages: (state: HeldQueueState<Message>) => HeldMessages<Message>,
  ) {
    this.#options = options
    this.#isNews = seldom(options.clock, 60_000)
    const { concurrency } = options.consumption
    this.#hands = createSlots(concurrency, this.#closing.signal, this.#stopping.signal)
    this.#messages = messages({
      stopping: this.#stopping.signal,
      closing: this.#closing.signal,
      ring: () => this.#ring(),
      idle: () => (this.#idle && !this.#stopping.signal.aborted ? this.#free : 0),
      handOver: (message, until) => this.#inOwnContext(() => this.#hold(message, until)),
      warn: (doing, error) => this.#warn(doing, error),
      failed: (doing, error, stop) => this.#failed(doing, error, stop),
      refused: (error, count) => this.#refused(error, count),
    })
    this.#taking = this.#takeAll()
    this.#others = Promise.all([this.#listen(), this.#renewAll()])
  }

  /**
   * Stops taking, then waits for the callbacks in progress and for what they decided to be
   * recorded, unless it is broken off meanwhile.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop()
    await this.#taking
    await Promise.race([this.#running.settled(), aborted(this.#closing.signal)])
    this.#closing.abort()
    await this.#others
  }

  /**
   * Aborts the signals of all deliveries and does not wait for the callbacks; their messages come
   * again after their time.
   */
  async breakOff(reason?: Error): Promise<void> {
    this.#stop()
    this.#closing.abort()
    for (const { controller } of this.#held) controller.abort(reason)
    await Promise.all([this.#taking, this.#others])
  }

  #stop(): void {
    this.#stopping.abort()
    this.#ring()
  }

  #ring(): void {
    this.#rung.resolve()
  }

  get #free(): number {
    return Math.max(0, this.#options.consumption.concurrency - this.#held.size)
  }

  /** How many may be taken. One look for half of what may wait costs less than one for each. */
  get #room(): number {
    const { prefetch = 0, consumption } = this.#options
    const { concurrency } = consumption
    const most = Math.max(prefetch, concurrency)
    const waiting = Math.max(0, this.#held.size - concurrency)
    return waiting * 2 > most - concurrency ? 0 : most - this.#held.size
  }

  async #takeAll(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      this.#rung = Promise.withResolvers()
      const room = this.#room
      try {
        const more = room > 0 && (await this.#take(room))
        if (!more) await this.#rest(room > 0)
      } catch (error) {
        this.#isTroubled = true
        if (!signal.aborted) this.#options.consumption.onTrouble?.(toError(error))
        await this.#failed('fetching messages', error, signal)
      }
    }
  }

  async #take(limit: number): Promise<boolean> {
    if (this.#isTroubled) await this.#options.look?.()
    if (this.#stopping.signal.aborted) return false
    const until = this.#options.clock.monotonic() + this.#options.visibilityMs
    const { messages, more } = await this.#messages.take(limit)
    this.#failures = 0
    if (this.#isTroubled) this.#options.consumption.onTrouble?.(undefined)
    this.#isTroubled = false
    for (const message of messages) this.#hold(message, until)
    return more
  }

  #hold(message: Message, until: number): void {
    const held = { message, until, controller: new AbortController() }
    this.#held.add(held)
    this.#running.add(this.#handle(held))
  }

  /**
   * Until somebody rings, something falls due, or the poll interval has passed; with full hands
   * only until somebody rings.
   */
  async #rest(untilDue: boolean): Promise<void> {
    const { clock, pollIntervalMs } = this.#options
    const wait = untilDue ? Math.min(this.#messages.nextDueMs(), pollIntervalMs) : Infinity
    this.#idle = untilDue
    if (wait === Infinity) await this.#rung.promise
    else {
      const timer = new AbortController()
      await Promise.race([this.#rung.promise, clock.sleep(Math.max(wait, 1), timer.signal)])
      timer.abort('done')
    }
    this.#idle = false
  }

  async #handle(held: Held<Message>): Promise<void> {
    const disposition = await inSlot(this.#hands, () => this.#decide(held))
    // The hands are free, so that the next messages can be taken while this is recorded.
    this.#held.delete(held)
    const settled = this.#messages.settle(held.message, disposition)
    // A message that is gone makes nothing due for hands that wait already.
    if (!this.#idle || disposition.kind !== 'ack') this.#ring()
    await settled
  }

  /** What was not begun before the stop, or was lost while it waited, is not begun. */
  async #decide({ message, controller }: Held<Message>): Promise<Disposition> {
    if (this.#stopping.signal.aborted || controller.signal.aborted) return { kind: 'release' }
    const delivery = this.#messages.deliveryOf(message, controller.signal)
    return 'kind' in delivery ? delivery : await deliver(this.#options.onDelivery, delivery)
  }

  async #listen(): Promise<void> {
    try {
      await this.#messages.listen(() => this.#ring(), this.#stopping.signal)
    } catch (error) {
      this.#warn('listening for messages', error)
    }
  }

  async #renewAll(): Promise<void> {
    const { clock, visibilityMs } = this.#options
    const { signal } = this.#closing
    if (visibilityMs === Infinity) return
    while (!signal.aborted) {
      await clock.sleep(visibilityMs / 3, signal)
      if (!signal.aborted && this.#held.size > 0) await this.#renew([...this.#held])
    }
  }

  /**
   * A message is lost if another consumer has taken it, or if its time ran out while the place
   * could not be told that we still hold it.
   */
  async #renew(all: readonly Held<Message>[]): Promise<void> {
    const { clock, visibilityMs } = this.#options
    const until = clock.monotonic() + visibilityMs
    let kept: ReadonlySet<Message>
    try {
      kept = await this.#messages.renew(all.map(({ message }) => message))
    } catch (error) {
      this.#warn('keeping hold of messages', error)
      for (const held of all) if (held.until <= clock.monotonic()) held.controller.abort()
      return
    }
    for (const held of all) {
      if (kept.has(held.message)) held.until = until
      else if (this.#held.has(held)) held.controller.abort()
    }
  }

  async #failed(doing: string, error: unknown, stop: AbortSignal): Promise<void> {
    if (stop.aborted) return
    this.#warn(doing, error)
    this.#failures++
    const { clock, pause, random } = this.#options
    await clock.sleep(backoffMs(pause, this.#failures, random), stop)
  }

  #warn(doing: string, error: unknown): void {
    const { name, logger, consumption } = this.#options
    const fields = { queue: consumption.queue, ...errorFields(error) }
    const level = this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'
    logger[level](fields, `${name}: ${doing} failed, trying again`)
  }

  #refused(error: unknown, messages: number): void {
    if (!this.#isNews('refused')) return
    const { name, logger, consumption } = this.#options
    const fields = { queue: consumption.queue, messages, ...errorFields(error) }
    logger.error(fields, `${name}: ${cannotBury}`)
  }
}
