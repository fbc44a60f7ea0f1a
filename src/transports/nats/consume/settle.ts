import { errorFields, errorText, errorTextWithStack } from '../../../core/errors/error-text.ts'
import type { Disposition } from '../../../core/transport.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { asideMs, asideText, cannotBury } from '../../shared/aside.ts'
import type { Arrival } from './delivery.ts'
import type { NatsLink } from '../connection/client.ts'
import type { NatsSettings } from '../options.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { State, States } from './state.ts'
import type { Topology } from '../topology/topology.ts'
import { asciiJson, headerBytes, ownHeaders, toEnvelope, toHeaders } from '../publish/wire.ts'

const pause = { firstMs: 250, longestMs: 3000 }
const SHORT_ERROR = 200
/** Refusals of the dead letters after which a message is set aside. */
const MOST_REFUSALS = 2

/** A message in the hands of the callback. */
export interface Hold {
  readonly queue: string
  readonly arrival: Arrival
  /** Aborts when the hold was lost: somebody else may have the message. */
  readonly lost: AbortSignal
  /** Aborts when the consumer stops: then nothing is tried a second time. */
  readonly stopping: AbortSignal
  /** Whether it has left its stream, so that no answer about it comes any more. */
  readonly isOver?: () => Promise<boolean>
  state: State | undefined
  attempt: number
}

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

function nak(delayMs: number): string {
  return delayMs > 0 ? `-NAK ${JSON.stringify({ delay: Math.ceil(delayMs) * 1_000_000 })}` : '-NAK'
}

/** Does what the handler's side decided, and makes sure that JetStream knows it. */
export class Settler {
  readonly #link: NatsLink
  readonly #publisher: Publisher
  readonly #topology: Topology
  readonly #settings: NatsSettings
  readonly states: States
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(
    link: NatsLink,
    publisher: Publisher,
    topology: Topology,
    states: States,
    settings: NatsSettings,
  ) {
    this.#link = link
    this.#publisher = publisher
    this.#topology = topology
    this.#settings = settings
    this.states = states
  }

  /** Tries until it is done, the hold is lost, or the consumer stops. Never rejects. */
  async settle(hold: Hold, disposition: Disposition): Promise<void> {
    let refusals = 0
    for (let failures = 1; !hold.lost.aborted; failures++) {
      try {
        const result = await this.#once(hold, disposition, refusals >= MOST_REFUSALS)
        if (result === 'done') return
        refusals++
      } catch (error) {
        this.#failed(hold.queue, 'recording what became of a message', error)
      }
      if (hold.stopping.aborted || (await this.#isOver(hold))) return
      await systemClock.sleep(backoffMs(pause, failures, Math.random), hold.lost)
    }
  }

  /** Says of a message that is in hand that it is. Rejects if JetStream does not answer. */
  async renew({ reply }: Arrival, timeout: number): Promise<void> {
    const { live } = this.#link
    if (live === undefined) throw new Error('there is no connection to NATS now')
    await live.connection.client.request(reply, '+WPI', { timeout })
  }

  async #isOver({ isOver, queue }: Hold): Promise<boolean> {
    try {
      return (await isOver?.()) ?? false
    } catch (error) {
      this.#failed(queue, 'looking for a message', error)
      return false
    }
  }

  #failed(queue: string, doing: string, error: unknown): void {
    const fields = { queue, ...errorFields(error) }
    const level = this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'
    this.#settings.logger[level](fields, `${doing} failed, trying again`)
  }

  async #once(
    hold: Hold,
    disposition: Disposition,
    isRefused: boolean,
  ): Promise<'done' | 'refused'> {
    const { arrival } = hold
    switch (disposition.kind) {
      case 'ack':
        await this.#end(hold)
        return 'done'
      case 'release':
        await this.#note(hold, { attempts: hold.attempt - 1 })
        await this.#answer(arrival.reply, nak(0))
        return 'done'
      case 'retry':
        await this.#retry(hold, disposition)
        return 'done'
      case 'reject':
        if (isRefused) await this.#putAside(hold, disposition)
        else if (!(await this.#bury(hold, disposition))) return 'refused'
        return 'done'
      default:
        return disposition satisfies never
    }
  }

  async #retry(hold: Hold, { delayMs, postponedSince }: Kind<'retry'>): Promise<void> {
    if (postponedSince !== undefined)
      await this.#note(hold, { attempts: hold.attempt - 1, postponedSince })
    await this.#answer(hold.arrival.reply, nak(delayMs))
  }

  async #end(hold: Hold): Promise<void> {
    await this.#answer(hold.arrival.reply, '+ACK')
    if (hold.state === undefined) return
    // If this fails, the state expires on its own.
    void this.states
      .forget(hold.queue, hold.arrival)
      .catch((error: unknown) =>
        this.#settings.logger.debug(errorFields(error), 'the attempts of a message stay noted'),
      )
  }

  /** What the next delivery is to know. */
  async #note(hold: Hold, change: Partial<State>): Promise<void> {
    const { delivered } = hold.arrival
    const { postponedSince } = hold.state ?? {}
    const since = postponedSince === undefined ? {} : { postponedSince }
    const state = { ...since, attempts: hold.attempt, delivered, ...change }
    if (!(await this.states.write(hold.queue, hold.arrival, state)))
      throw new Error('the attempts of the message could not be noted')
    hold.state = state
  }

  /** Resolves when JetStream has done it. */
  async #answer(reply: string, text: string): Promise<void> {
    const { connection } = await this.#link.connection()
    await connection.client.request(reply, text, { timeout: this.#settings.confirmTimeoutMs })
  }

  /** False if the dead letters do not take it. Its copy is stored before it leaves its queue. */
  async #bury(hold: Hold, disposition: Kind<'reject'>): Promise<boolean> {
    const { connection } = await this.#link.connection()
    const { body } = toEnvelope(hold.arrival.message)
    const subject = this.#topology.names.deadOf(hold.queue)
    const limit = (connection.client.info?.max_payload ?? Number.MAX_SAFE_INTEGER) - body.byteLength
    let headers = this.#deadHeaders(hold, disposition)
    if (headerBytes(headers) > limit) headers = this.#deadHeaders(hold, disposition, SHORT_ERROR)
    if (headerBytes(headers) > limit)
      return this.#unburied(hold.queue, 'it fills the largest message that the server takes')
    const answer = await this.#publisher.send({ subject, headers, body })
    if (answer.kind === 'stored') {
      await this.#end(hold)
      return true
    }
    if (answer.kind === 'nobody') await this.#topology.queue(hold.queue)
    if (answer.kind === 'error') return this.#unburied(hold.queue, answer.text)
    throw 'error' in answer ? answer.error : new Error('the stream of the dead letters was missing')
  }

  #unburied(queue: string, why: string): false {
    const level = this.#isNews('bury') ? 'error' : 'debug'
    this.#settings.logger[level]({ queue, error: errorText(why) }, `nats queue: ${cannotBury}`)
    return false
  }

  #deadHeaders(
    { queue, arrival, attempt }: Hold,
    { reason, error }: Kind<'reject'>,
    longest = Number.MAX_SAFE_INTEGER,
  ): ReturnType<typeof toHeaders> {
    const text = asideText(error) ?? errorTextWithStack(error)
    const headers = toHeaders(toEnvelope(arrival.message), `dead.${queue}.${arrival.key}`)
    headers.set(ownHeaders.reason, reason)
    headers.set(ownHeaders.error, asciiJson(text.slice(0, longest).toWellFormed()))
    headers.set(ownHeaders.attempts, String(attempt))
    headers.set(ownHeaders.diedAt, String(systemClock.now()))
    return headers
  }

  /** It waits with its reason, so that it holds up nobody. */
  async #putAside(hold: Hold, { reason, error }: Kind<'reject'>): Promise<void> {
    const times = hold.state?.aside?.times ?? 0
    const text = asideText(error) ?? errorTextWithStack(error)
    await this.#note(hold, { aside: { reason, error: text, times: times + 1 } })
    await this.#answer(hold.arrival.reply, nak(asideMs(times > 0)))
  }
}
