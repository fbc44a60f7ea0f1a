import type { Msg } from '@nats-io/transport-node'
import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Consumption, Disposition } from '../../../core/transport.ts'
import { aborted } from '../../../lib/async/abort.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import { slots } from '../../../lib/async/slots.ts'
import { setAside } from '../../shared/aside.ts'
import { deliver, inHand, type OnDelivery, postponedField } from '../../shared/deliver.ts'
import { type Trouble, trouble } from '../../shared/receiving/trouble.ts'
import { arrivalOf } from './delivery.ts'
import type { NatsLink, NatsLive } from '../connection/client.ts'
import type { NatsSettings } from '../options.ts'
import { CONSUMER } from '../topology/names.ts'
import { Pull } from './pull.ts'
import { recoverNowAndThen } from './recover.ts'
import type { Hold, Settler } from './settle.ts'
import { attemptOf } from './state.ts'
import { toEnvelope } from '../publish/wire.ts'

const backoff = { firstMs: 500, longestMs: 3000 }
const PAUSE_MS = 250
const LONGEST_HEARTBEAT_MS = 3000
const MOST_LOSSES = 10_000
/** Renewals of a hold within the time after which JetStream gives the message to somebody else. */
const RENEWALS = 4

export interface ConsumerParts {
  readonly link: NatsLink
  readonly settler: Settler
  readonly settings: NatsSettings
  /** Name of the stream of the queue. */
  readonly stream: string
  /** Makes the stream and its subscriptions again, or looks whether they are there. */
  readonly prepare: () => Promise<void>
  /** Hands out again what a crash of the server has made it forget. */
  readonly recover: (stop: AbortSignal) => Promise<void>
}

/** With what tells that it was lost, and when JetStream last heard of it. */
interface Held extends Hold {
  readonly controller: AbortController
  renewedAt: number
}

/** Receives from one queue until it is disposed, over whatever connection there is. */
export class Consumer implements AsyncDisposable {
  readonly #parts: ConsumerParts
  readonly #consumption: Consumption
  readonly #onDelivery: OnDelivery
  readonly #stopping = new AbortController()
  readonly #closing = new AbortController()
  readonly #held = new Set<Held>()
  readonly #work = inHand()
  readonly #places
  /** How often this process has lost its hold on a message without a fault of its handler. */
  readonly #losses = new Map<string, number>()
  #freed = Promise.withResolvers<void>()
  #loops: readonly Promise<void>[] = []
  readonly #told: Trouble

  constructor(parts: ConsumerParts, consumption: Consumption, onDelivery: OnDelivery) {
    this.#parts = parts
    this.#consumption = consumption
    this.#onDelivery = onDelivery
    this.#places = slots(consumption.concurrency)
    this.#told = trouble(parts.settings.logger, consumption)
  }

  get queue(): string {
    return this.#consumption.queue
  }

  /** Rejects if the first try fails; afterwards it goes on by itself. */
  async start(): Promise<void> {
    await this.#parts.prepare()
    const { recover, settings } = this.#parts
    const { signal } = this.#stopping
    const look = (): Promise<void> => recover(signal)
    this.#loops = [this.#run(), this.#renewAll(), recoverNowAndThen(look, settings.logger, signal)]
  }

  /** Tells the handlers that their messages are lost; the connection is about to be closed. */
  force(reason: Error): void {
    this.#stopping.abort(reason)
    this.#closing.abort(reason)
    for (const { controller } of this.#held) controller.abort(reason)
    this.#freed.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new MersalError('MERSAL_APP_STOPPED', 'the consumer stops'))
    this.#freed.resolve()
    await this.#loops[0]
    await this.#work.settled()
    this.#closing.abort()
    await Promise.all(this.#loops)
  }

  async #run(): Promise<void> {
    const { link, prepare } = this.#parts
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      try {
        const live = await Promise.race([link.connection(), aborted(signal)])
        if (live === undefined) return
        if (failures > 0) await Promise.race([prepare(), aborted(signal)])
        if (signal.aborted) return
        await this.#listen(live, () => (failures = 0))
      } catch (error) {
        if (signal.aborted) return
        this.#told.tell(error)
        await systemClock.sleep(backoffMs(backoff, ++failures, Math.random), signal)
      }
    }
  }

  async #listen(live: NatsLive, works: () => void): Promise<void> {
    const { signal } = this.#stopping
    const { stream, settings } = this.#parts
    const heartbeatMs = Math.min(settings.ackWaitMs / RENEWALS, LONGEST_HEARTBEAT_MS)
    const heard = (): void => this.#told.over()
    const pull = new Pull(live, { stream, consumer: CONSUMER, heartbeatMs, heard }, (message) => {
      works()
      this.#receive(message)
    })
    try {
      while (!signal.aborted) {
        this.#freed = Promise.withResolvers()
        const free = this.#consumption.concurrency - this.#work.count
        if (free > 0) await pull.take(free, signal)
        else {
          // Nothing is asked for, so that nothing is heard.
          this.#told.over()
          await this.#freed.promise
        }
      }
    } finally {
      await pull.close()
    }
  }

  #receive(message: Msg): void {
    const arrival = arrivalOf(message)
    if (arrival === undefined) return
    const controller = new AbortController()
    const held: Held = {
      queue: this.queue,
      arrival,
      controller,
      lost: controller.signal,
      stopping: this.#stopping.signal,
      state: undefined,
      attempt: arrival.delivered,
      renewedAt: systemClock.monotonic(),
    }
    this.#held.add(held)
    this.#work.add(this.#handle(held))
  }

  async #handle(held: Held): Promise<void> {
    const { signal } = this.#stopping
    // More than was asked for may come when a request was thought to be lost.
    const hasPlace = await this.#places.take(signal)
    try {
      await this.#readState(held)
      const disposition: Disposition = hasPlace ? await this.#decide(held) : { kind: 'release' }
      this.#loseIfLate(held)
      // What is given back must not meet the last request of this consumer.
      if (signal.aborted) await this.#loops[0]
      const { state } = held
      await this.#parts.settler.settle(held, disposition)
      // What was noted for the next delivery has them in it.
      const isOver = disposition.kind === 'ack' && !held.lost.aborted
      if (isOver || held.state !== state) this.#losses.delete(held.arrival.key)
    } finally {
      if (hasPlace) this.#places.giveBack()
      this.#held.delete(held)
      // In the next turn, when this work is no longer counted.
      setImmediate(() => this.#freed.resolve())
    }
  }

  /** Until it is known, somebody else has the message, or the consumer stops. */
  async #readState(held: Held): Promise<void> {
    const { settler, settings } = this.#parts
    while (!held.lost.aborted) {
      try {
        held.state = await settler.states.read(held.queue, held.arrival)
        const losses = this.#losses.get(held.arrival.key) ?? 0
        held.attempt = Math.max(1, attemptOf(held.arrival, held.state) - losses)
        return
      } catch (error) {
        settings.logger.debug(errorFields(error), 'the attempts of a message cannot be read yet')
        if (held.stopping.aborted) return
        await systemClock.sleep(PAUSE_MS, held.lost)
      }
    }
  }

  async #decide({ arrival, attempt, state, lost, queue }: Held): Promise<Disposition> {
    if (lost.aborted) return { kind: 'release' }
    // Given up before: only its dead letter is missing.
    if (state?.aside !== undefined) return setAside(state.aside.reason, state.aside.error)
    const message = toEnvelope(arrival.message)
    using linked = linkAbort(lost, this.#closing.signal)
    return await deliver(this.#onDelivery, {
      message,
      queue,
      attempt,
      ...postponedField(state?.postponedSince),
      signal: linked.signal,
    })
  }

  async #renewAll(): Promise<void> {
    const { ackWaitMs } = this.#parts.settings
    const { signal } = this.#closing
    for (;;) {
      await systemClock.sleep(ackWaitMs / RENEWALS, signal)
      if (signal.aborted) return
      await Promise.race([this.#renew(), aborted(signal)])
    }
  }

  /** A message is lost if JetStream has not heard of it for the whole time. */
  async #renew(): Promise<void> {
    const { settler, settings } = this.#parts
    // A process that stood still has lost them: a renewal now would be of what another one has.
    for (const held of this.#held) this.#loseIfLate(held)
    const all = [...this.#held].filter(({ lost }) => !lost.aborted)
    await Promise.all(
      all.map(async (held) => {
        const now = systemClock.monotonic()
        await settler.renew(held.arrival, settings.ackWaitMs / RENEWALS).then(
          () => (held.renewedAt = now),
          (error: unknown) => settings.logger.debug(errorFields(error), 'a hold was not renewed'),
        )
      }),
    )
    for (const held of all) this.#loseIfLate(held)
  }

  #loseIfLate(held: Held): void {
    const oldest = systemClock.monotonic() - this.#parts.settings.ackWaitMs
    if (held.renewedAt < oldest) this.#lose(held)
  }

  #lose({ controller, arrival }: Held): void {
    if (controller.signal.aborted) return
    // JetStream counts the delivery, and the server was at fault.
    if (this.#losses.size >= MOST_LOSSES) this.#losses.clear()
    this.#losses.set(arrival.key, (this.#losses.get(arrival.key) ?? 0) + 1)
    this.#parts.settings.logger.warn(
      { queue: this.queue, sequence: arrival.sequence },
      'lost the hold on a message: it was not renewed in time',
    )
    const text = `queue '${this.queue}': the hold on the message was lost`
    controller.abort(new MersalError('MERSAL_UNAVAILABLE', text))
  }
}
