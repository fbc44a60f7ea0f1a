import type { ChannelModel } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { destinationKey, type OutgoingMessage } from '../../../core/messages/message.ts'
import type { PublishOptions, PublishOutcome } from '../../../core/transport.ts'
import { abortable } from '../../../lib/async/linked-abort.ts'
import { byteLength } from '../../../lib/text.ts'
import type { Describe } from '../../shared/describe.ts'
import { ConfirmLane, type Parcel } from './confirms.ts'
import { EventsExchange } from './events-exchange.ts'
import { headerProblem, toBuffer, toProperties } from './envelope.ts'
import { answered, bufferedIn, closeQuietly, type RabbitLink } from '../connection/client.ts'
import type { RabbitSettings } from '../options.ts'
import { confirmed, refusedForGood, sizeOf, tooLarge, withdrawn } from '../../shared/outcomes.ts'
import { answeredOrStopped, type Stop, stopOn } from '../../shared/stop.ts'
import { type Answer, notEncoded } from './outcomes.ts'
import { questionBehind } from '../connection/question.ts'
import { LONGEST_NAME_BYTES, nameProblem, type Topology } from '../topology/topology.ts'

type Judge = (outcome: PublishOutcome) => PublishOutcome

const asItIs: Judge = (outcome) => outcome

/**
 * What this transport itself makes, asked about a destination. Both promises resolve when it is
 * there.
 */
export interface Own {
  /** For a destination that is not there, if it is ours to make. */
  missing(to: OutgoingMessage['to']): Promise<void> | undefined
  now(): number
  /** If it is being made, or has been since that `now`. */
  madeSince(moment: number, to: OutgoingMessage['to']): Promise<void> | undefined
}

export interface PublisherOptions {
  readonly own?: Own
  /**
   * Goes on with a new channel after a confirm that did not come in time: RabbitMQ lets a channel
   * wait for a queue without a leader, and with it everything that is written behind. What was
   * written before may then arrive after what is written later, so this is not for messages whose
   * order counts. Default false.
   */
  readonly leavesSilentChannels?: boolean
}

/** Publishes with confirms over one channel, which is made anew when the broker closes it. */
export class Publisher {
  readonly #link: RabbitLink
  readonly #settings: RabbitSettings
  readonly #describe: Describe
  readonly #options: PublisherOptions
  #lane: ConfirmLane | undefined
  #opening: Promise<ConfirmLane> | undefined
  readonly #exchange: EventsExchange
  /** Of the broker, learned from its refusal. */
  /** What has been found out on a connection. On the next one somebody may have raised it. */
  #limit: { readonly bytes: number; readonly model: ChannelModel } | undefined

  constructor(
    link: RabbitLink,
    topology: Topology,
    settings: RabbitSettings,
    describe: Describe,
    options: PublisherOptions = {},
  ) {
    this.#options = options
    this.#link = link
    this.#settings = settings
    this.#describe = describe
    this.#exchange = new EventsExchange(
      () => topology.eventsExchange(link),
      (error) => this.#unavailable(error),
    )
  }

  /** Largest body that the broker takes, as far as it is known. */
  get brokerLimit(): number {
    const limit = this.#limit
    return limit !== undefined && limit.model === this.#link.live?.connection
      ? limit.bytes
      : Number.POSITIVE_INFINITY
  }

  publish(
    messages: readonly OutgoingMessage[],
    { signal, withdraw }: PublishOptions = {},
  ): readonly Promise<PublishOutcome>[] {
    const stop = stopOn(signal, withdraw)
    return this.together(messages.length, () => messages.map((message) => this.one(message, stop)))
  }

  /** What `work` writes, about `count` messages, leaves in one piece. */
  together<Result>(count: number, work: () => Result): Result {
    return this.#lane === undefined ? work() : this.#lane.together(count, work)
  }

  /**
   * Never rejects. Has been written when this returns, if the channel is open. `judge` may make
   * another outcome of it.
   */
  send(parcel: Parcel, stop?: Stop, judge: Judge = asItIs): Promise<PublishOutcome> {
    const ready = parcel.content.length <= this.brokerLimit ? this.#ready(stop?.signal) : undefined
    if (ready === undefined) return this.#sendLater(parcel, stop, judge)
    // One promise for each message, and none in between: at full speed they are what a message
    // costs here.
    return new Promise((resolve) => {
      this.#write(ready, parcel, stop, (answer) =>
        resolve(answer.kind === 'not-taken' ? this.#sendLater(parcel, stop, judge) : judge(answer)),
      )
    })
  }

  /** Each turn, the channel was closed because of one other message that is refused for good. */
  async #sendLater(parcel: Parcel, stop: Stop | undefined, judge: Judge): Promise<PublishOutcome> {
    for (;;) {
      if (stop?.withdraw?.signal.aborted === true) return judge(withdrawn())
      if (parcel.content.length > this.brokerLimit)
        return judge(tooLarge(parcel.content.length, this.brokerLimit))
      const lane = await this.#open(stop?.signal)
      if (!(lane instanceof ConfirmLane)) return judge(lane)
      const answer = await new Promise<Answer>((resolve) =>
        this.#write(lane, parcel, stop, resolve),
      )
      if (answer.kind !== 'not-taken') return judge(answer)
    }
  }

  async close(): Promise<void> {
    await this.#lane?.close()
  }

  /** One message on its own. Never rejects. */
  one(message: OutgoingMessage, stop: Stop | undefined): Promise<PublishOutcome> {
    const problem = this.problem(message)
    if (problem !== undefined) return Promise.resolve(problem)
    return this.deliver(
      message.to,
      { content: toBuffer(message.body), properties: toProperties(message) },
      stop,
    )
  }

  /**
   * Never rejects. Has been written when this returns, if the channel is open and, for a topic, the
   * exchange has been seen.
   */
  deliver(
    to: OutgoingMessage['to'],
    what: Pick<Parcel, 'content' | 'properties'>,
    stop: Stop | undefined,
  ): Promise<PublishOutcome> {
    if (to.kind === 'topic' && !this.#exchange.isThere) return this.#deliverLater(to, what, stop)
    const parcel = {
      exchange: to.kind === 'topic' ? this.#settings.eventsExchange : '',
      routingKey: to.name,
      ...what,
    }
    const written = this.#options.own?.now()
    return this.send(parcel, stop, (outcome) =>
      outcome.kind === 'confirmed' ? outcome : this.#judge(to, outcome, written),
    )
  }

  async #deliverLater(
    to: OutgoingMessage['to'],
    what: Pick<Parcel, 'content' | 'properties'>,
    stop: Stop | undefined,
  ): Promise<PublishOutcome> {
    const lane = await this.#open(stop?.signal)
    const missing = lane instanceof ConfirmLane ? await this.#exchange.missing() : lane
    if (missing !== undefined) return missing
    const parcel = { exchange: this.#settings.eventsExchange, routingKey: to.name, ...what }
    const written = this.#options.own?.now()
    return await this.send(parcel, stop, (outcome) => this.#judge(to, outcome, written))
  }

  /** `written`: when the message was, as `own.now()` told. */
  #judge(to: OutgoingMessage['to'], outcome: PublishOutcome, written = 0): PublishOutcome {
    if (outcome.kind !== 'refused' || outcome.permanent) return outcome
    const { own } = this.#options
    const unroutable = outcome.reason === 'unroutable'
    // Nobody's mistake: what takes this message is about to be made again by this transport itself.
    const back = unroutable ? own?.missing(to) : own?.madeSince(written, to)
    if (back !== undefined) return { kind: 'unavailable', error: outcome.error, back }
    return unroutable && to.kind === 'topic' && this.#settings.discardUnroutedEvents
      ? confirmed
      : outcome
  }

  /** Why this message can never be sent, or undefined. */
  problem(message: OutgoingMessage): PublishOutcome | undefined {
    const bytes = sizeOf(message)
    if (bytes > this.#settings.maxMessageBytes)
      return tooLarge(bytes, this.#settings.maxMessageBytes)
    const name = nameProblem(message.to.name)
    if (name !== undefined)
      return refusedForGood(`${destinationKey(message.to).slice(0, 100)}: ${name}`)
    const header = headerProblem(message.headers)
    if (header !== undefined) return refusedForGood(header)
    for (const field of ['id', 'type'] as const) {
      if (byteLength(message[field]) > LONGEST_NAME_BYTES)
        return refusedForGood(`the ${field} has more than ${LONGEST_NAME_BYTES} bytes`)
    }
    return undefined
  }

  /** The open channel, if nothing is in the way of writing at once. */
  #ready(signal: AbortSignal | undefined): ConfirmLane | undefined {
    if (signal?.aborted === true || this.#link.down !== undefined || this.#link.blocked)
      return undefined
    return this.#lane?.open === true ? this.#lane : undefined
  }

  async #open(signal: AbortSignal | undefined): Promise<ConfirmLane | PublishOutcome> {
    try {
      signal?.throwIfAborted()
      if (this.#link.down !== undefined) throw this.#link.down
      if (this.#link.blocked)
        throw new MersalError(
          'MERSAL_UNAVAILABLE',
          'RabbitMQ takes no messages because of a memory or disk alarm',
        )
      if (this.#lane?.open === true) return this.#lane
      return await abortable(signal, () => (this.#opening ??= this.#openLane()))
    } catch (error) {
      return this.#unavailable(error)
    }
  }

  #unavailable(error: unknown): PublishOutcome {
    const known =
      error instanceof MersalError
        ? error
        : new MersalError('MERSAL_UNAVAILABLE', this.#describe(error))
    const { back } = this.#link
    return { kind: 'unavailable', error: known, ...(back === undefined ? {} : { back }) }
  }

  async #openLane(): Promise<ConfirmLane> {
    try {
      const { connection: model } = await this.#link.connection()
      this.#exchange.forget()
      const opening = Promise.all([model.createConfirmChannel(), model.createChannel()])
      const [channel, asking] = await answered(this.#settings.connectTimeoutMs, opening)
      // What it says is said by the other one, or by the question that fails.
      asking.on('error', () => {})
      const turnAway = (): void => lane.turnAway()
      model.on('blocked', turnAway)
      const lane = new ConfirmLane(channel, {
        timeoutMs: this.#settings.confirmTimeoutMs,
        question: questionBehind(channel, asking),
        buffered: () => bufferedIn(model),
        describe: this.#describe,
        endsWhenSilent: this.#options.leavesSilentChannels ?? false,
        onClose: (limit) => {
          model.off('blocked', turnAway)
          void closeQuietly(asking)
          // It may have been closed because the exchange is gone.
          this.#exchange.forget()
          if (limit !== undefined) this.#limit = { bytes: limit, model }
        },
      })
      this.#lane = lane
      return lane
    } finally {
      this.#opening = undefined
    }
  }

  #write(
    lane: ConfirmLane,
    parcel: Parcel,
    stop: Stop | undefined,
    settled: (answer: Answer) => void,
  ): void {
    try {
      answeredOrStopped<Answer>(
        stop,
        (settle) => {
          const waiting = lane.write(parcel, settle)
          return waiting === undefined ? undefined : () => lane.takeBack(waiting)
        },
        settled,
      )
    } catch (error) {
      settled(lane.open ? notEncoded(error, this.#describe(error)) : this.#unavailable(error))
    }
  }
}
