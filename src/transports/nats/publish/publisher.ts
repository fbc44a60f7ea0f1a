import type { OutgoingMessage } from '../../../core/messages/message.ts'
import { isName } from '../../../core/messages/validation.ts'
import type { PublishOptions, PublishOutcome } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import {
  confirmed,
  refused,
  refusedForGood,
  sizeOf,
  together,
  tooLarge,
  unavailable,
  unroutable,
} from '../../shared/outcomes.ts'
import { apiCodes } from '../connection/faults.ts'
import type { NatsLink, NatsLive } from '../connection/client.ts'
import { type Answer, Lane, type Parcel } from './lane.ts'
import type { NatsSettings } from '../options.ts'
import type { OwnQueues } from '../../shared/own-queues.ts'
import { type Stop, stopOn } from '../../shared/stop.ts'
import type { Topology } from '../topology/topology.ts'
import { headerBytes, toHeaders, withMessageId } from './wire.ts'

/** Headers of ours take less than this, so only larger messages are measured exactly. */
const OWN_BYTES = 16 * 1024
/** At most this many messages whose publish has no outcome yet are remembered. */
const MOST_OPEN = 10_000

/** The queues of each topic, asked for once in one call of `publish`. */
type Lookups = Map<string, Promise<readonly string[]>>

/** Puts messages into the streams of their queues, an event into the stream of each subscriber. */
export class Publisher {
  readonly #link: NatsLink
  readonly #topology: Topology
  readonly #own: OwnQueues
  readonly #settings: NatsSettings
  readonly #lanes = new WeakMap<NatsLive, Lane>()
  readonly #isNews = seldom(systemClock, 60_000)
  /** Ids that this process has sent to some stream and did not report as confirmed. */
  readonly #open = new Set<string>()

  constructor(link: NatsLink, topology: Topology, own: OwnQueues, settings: NatsSettings) {
    this.#link = link
    this.#topology = topology
    this.#own = own
    this.#settings = settings
  }

  publish(
    messages: readonly OutgoingMessage[],
    { signal, withdraw }: PublishOptions = {},
  ): readonly Promise<PublishOutcome>[] {
    const lookups: Lookups = new Map()
    const stop = stopOn(signal, withdraw)
    return messages.map((message) => this.#publish(message, lookups, stop))
  }

  /** One message to one subject. */
  async send(parcel: Parcel, stop?: Stop): Promise<Answer> {
    const live = await this.#link.connection()
    return this.#laneOf(live).send(parcel, stop)
  }

  #laneOf(live: NatsLive): Lane {
    const known = this.#lanes.get(live)
    if (known !== undefined) return known
    const lane = new Lane(live, this.#settings.confirmTimeoutMs)
    this.#lanes.set(live, lane)
    return lane
  }

  async #publish(
    message: OutgoingMessage,
    lookups: Lookups,
    stop: Stop | undefined,
  ): Promise<PublishOutcome> {
    const { maxMessageBytes } = this.#settings
    const bytes = sizeOf(message)
    if (bytes > maxMessageBytes) return tooLarge(bytes, maxMessageBytes)
    if (!isName(message.to.name))
      return refusedForGood(`'${message.to.kind}' has a name that no queue or topic can have`)
    try {
      // While a try waits, nothing waits for it: the relay probes, or comes when it is back.
      if (this.#link.down !== undefined) throw this.#link.down
      const { client } = (await this.#link.connection()).connection
      const headers = toHeaders(message, message.id)
      const limit = client.info?.max_payload ?? maxMessageBytes
      const whole = bytes + OWN_BYTES > limit ? headerBytes(headers) + message.body.byteLength : 0
      if (whole > limit) return tooLarge(whole, limit)
      const { to } = message
      const queues = to.kind === 'queue' ? [to.name] : await this.#queuesOf(to.name, lookups)
      if (queues.length === 0) return this.#nobody(message)
      const parcel = { headers, body: message.body }
      const outcomes = await Promise.all(
        queues.map((queue) => this.#into(queue, parcel, message, stop)),
      )
      const taken = outcomes.filter((outcome) => outcome !== 'gone')
      return taken.length === 0 ? this.#nobody(message) : this.#noted(message, together(taken))
    } catch (error) {
      return this.#away(toError(error))
    }
  }

  #noted({ id }: OutgoingMessage, outcome: PublishOutcome): PublishOutcome {
    this.#open.delete(id)
    if (outcome.kind === 'unknown' || outcome.kind === 'refused') this.#open.add(id)
    const [oldest] = this.#open
    if (oldest !== undefined && this.#open.size > MOST_OPEN) this.#open.delete(oldest)
    return outcome
  }

  /**
   * A stream says of an id that it knows it, also when the message has left it. Where this process
   * has sent it before, that explains it. Else it may be a message of long ago that somebody sends
   * on purpose, and it is stored again.
   */
  async #stored(
    queue: string,
    parcel: Parcel,
    { id }: OutgoingMessage,
    before: number,
    stop: Stop | undefined,
  ): Promise<Answer> {
    if (
      this.#open.has(id) ||
      (await this.#topology.holds(this.#topology.names.streamOf(queue), before))
    )
      return { kind: 'stored' }
    return this.send(
      { ...parcel, headers: withMessageId(parcel.headers, `again.${id}.${crypto.randomUUID()}`) },
      stop,
    )
  }

  #queuesOf(topic: string, lookups: Lookups): Promise<readonly string[]> {
    const known = lookups.get(topic)
    if (known !== undefined) return known
    const asked = this.#topology.queuesOf(topic)
    lookups.set(topic, asked)
    return asked
  }

  #away(error: Error): PublishOutcome {
    const { back } = this.#link
    const outcome = unavailable(error.message)
    return { ...outcome, error, ...(back === undefined ? {} : { back }) }
  }

  /** No queue takes it. If one of ours is missing, that is no fault of the message. */
  #nobody({ to }: OutgoingMessage): PublishOutcome {
    const back = this.#own.missing(to)
    if (back !== undefined)
      return { ...unavailable(`the stream for ${to.kind} '${to.name}' is being made again`), back }
    return to.kind === 'topic' && this.#settings.discardUnroutedEvents ? confirmed : unroutable(to)
  }

  async #into(
    queue: string,
    { headers, body }: Omit<Parcel, 'subject'>,
    message: OutgoingMessage,
    stop: Stop | undefined,
  ): Promise<PublishOutcome | 'gone'> {
    const { to } = message
    const parcel = { subject: this.#topology.names.subjectOf(queue), headers, body }
    let answer = await this.send(parcel, stop)
    if (answer.kind === 'stored' && answer.before !== undefined)
      answer = await this.#stored(queue, parcel, message, answer.before, stop)
    if (answer.kind !== 'nobody') return outcomeOf(queue, answer)
    // Also the answer of a cluster whose stream has no leader at the moment.
    const stream = this.#topology.names.streamOf(queue)
    if ((await this.#topology.info(stream)) !== undefined)
      return unavailable(`the stream of queue '${queue}' has no leader now`)
    if (to.kind === 'queue') return 'gone'
    const back = this.#own.missing({ kind: 'queue', name: queue })
    if (back !== undefined)
      return { ...unavailable(`the stream of queue '${queue}' is being made again`), back }
    const level = this.#isNews(queue) ? 'warn' : 'debug'
    this.#settings.logger[level](
      { queue, topic: to.name },
      'a queue is subscribed, and its stream is gone: start its app, or remove the queue',
    )
    return 'gone'
  }
}

function outcomeOf(queue: string, answer: Exclude<Answer, { kind: 'nobody' }>): PublishOutcome {
  if (answer.kind === 'stored') return confirmed
  if (answer.kind !== 'error') return answer
  const text = `queue '${queue}': NATS answers: ${answer.text} (${answer.code})`
  if (answer.code === apiCodes.messageTooLarge)
    return { ...refusedForGood(text), reason: 'too-large' }
  // A full stream and a server without room are no fault of the message.
  const isFull = answer.status >= 500 || answer.code === apiCodes.accountIsFull
  return isFull ? unavailable(text) : refused(text)
}
