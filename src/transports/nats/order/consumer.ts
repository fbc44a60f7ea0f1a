import { MersalError } from '../../../core/errors/errors.ts'
import type { Consumption } from '../../../core/transport.ts'
import { aborted, toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { slots } from '../../../lib/async/slots.ts'
import type { OnDelivery } from '../../shared/deliver.ts'
import type { Reader } from '../../shared/receiving/readers.ts'
import { type Trouble, trouble } from '../../shared/receiving/trouble.ts'
import type { NatsLink } from '../connection/client.ts'
import type { Settler } from '../consume/settle.ts'
import type { NatsSettings } from '../options.ts'
import type { Publisher } from '../publish/publisher.ts'
import { SPLIT } from '../topology/names.ts'
import type { Topology } from '../topology/topology.ts'
import { Claims } from './claims.ts'
import { type Part, partsOf } from './layout.ts'
import { Members } from './members.ts'
import { type Over, Session, type SessionPorts } from './session.ts'
import { splitter } from './splitter.ts'
import { type OrderPorts, turns } from './turns.ts'

const LONGEST_ROUND_MS = 2000
const LONGEST_HEARTBEAT_MS = 3000
/** Rounds, and looks of JetStream at its readers, within the time after which a process is dead. */
const ROUNDS = 4

export interface OrderedParts {
  readonly link: NatsLink
  readonly settler: Settler
  readonly publisher: Publisher
  readonly topology: Topology
  readonly settings: NatsSettings
  /** Makes the streams of the queue, or looks whether they are there. */
  readonly prepare: () => Promise<void>
}

/** Receives in order from its share of the partitions of one queue until it is disposed. */
export class OrderedConsumer implements Reader {
  readonly queue: string
  readonly #parts: OrderedParts
  readonly #shares: readonly Part[]
  readonly #members: Members
  readonly #claims: Claims
  readonly #ports: SessionPorts
  readonly #told: Trouble
  readonly #stopping = new AbortController()
  readonly #forced = new AbortController()
  readonly #sessions = new Map<Part, Session>()
  readonly #leaving = new Map<Part, Promise<void>>()
  #loops: readonly Promise<void>[] = []

  constructor(parts: OrderedParts, consumption: Consumption, onDelivery: OnDelivery) {
    const { topology, publisher, settings, link } = parts
    const { queue } = consumption
    const silentMs = settings.ackWaitMs
    this.queue = queue
    this.#parts = parts
    this.#shares = partsOf(topology, queue, settings.partitions)
    this.#members = new Members(topology, publisher, queue, silentMs)
    this.#claims = new Claims({ topology, publisher, members: this.#members, queue, silentMs })
    this.#told = trouble(settings.logger, consumption)
    this.#ports = {
      link,
      claims: this.#claims,
      told: this.#told,
      logger: settings.logger,
      heartbeatMs: Math.min(silentMs / ROUNDS, LONGEST_HEARTBEAT_MS),
      worker: this.#workerOf(consumption, onDelivery),
    }
  }

  /** Rejects if the first try fails; afterwards it goes on by itself. */
  async start(): Promise<void> {
    await this.#parts.prepare()
    await this.#members.renew()
    await this.#share()
    this.#loops = [
      // A round may take long, and must not make this process look dead.
      this.#nowAndThen(() => this.#members.renew()),
      this.#nowAndThen(() => this.#share()),
    ]
  }

  /** Tells the handlers that their messages are lost; the connection is about to be closed. */
  force(reason: Error): void {
    this.#stopping.abort(reason)
    this.#forced.abort(reason)
    this.#loseAll(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new MersalError('MERSAL_APP_STOPPED', 'the consumer stops'))
    await Promise.all(this.#loops)
    await Promise.all([...this.#sessions.keys()].map((part) => this.#leave(part)))
    await Promise.all(this.#leaving.values())
    this.#parts.topology.ordered.delete(this.queue)
    // Without a connection nobody is told; then the others notice it after `silentMs`.
    if (!this.#forced.signal.aborted) await this.#members.leave().catch(() => {})
  }

  async #nowAndThen(task: () => Promise<void>): Promise<void> {
    const { signal } = this.#stopping
    const roundMs = Math.min(this.#parts.settings.ackWaitMs / ROUNDS, LONGEST_ROUND_MS)
    while (!signal.aborted) {
      await systemClock.sleep(roundMs * (0.75 + Math.random() / 4), signal)
      if (signal.aborted) return
      try {
        await Promise.race([task(), aborted(signal)])
      } catch (error) {
        if (!signal.aborted) this.#told.tell(error)
      }
      this.#isMine()
    }
  }

  /** Takes what is to be read by this process, and leaves the rest. */
  async #share(): Promise<void> {
    await this.#members.look()
    const living = this.#members.living()
    const place = living.indexOf(this.#members.id)
    const isOurs = (index: number): boolean => index % living.length === place
    for (const [part, session] of this.#sessions)
      if (session.isLost || !isOurs(this.#shares.indexOf(part))) void this.#leave(part)
    const wanted = this.#shares.filter((part, index) => isOurs(index) && !this.#has(part))
    await Promise.all(wanted.map((part) => this.#take(part)))
  }

  /** Also what is being left: its handlers have not ended yet, whose messages come again. */
  #has(part: Part): boolean {
    return this.#sessions.has(part) || this.#leaving.has(part)
  }

  async #take(part: Part): Promise<void> {
    const claim = await this.#claims.take(part)
    if (claim === undefined) return
    if (this.#stopping.signal.aborted) await this.#claims.drop(part, claim)
    else this.#sessions.set(part, new Session(this.#ports, part, claim))
  }

  #leave(part: Part): Promise<void> {
    const session = this.#sessions.get(part)
    if (session === undefined) return this.#leaving.get(part) ?? Promise.resolve()
    this.#sessions.delete(part)
    const left = session.stop().finally(() => this.#leaving.delete(part))
    this.#leaving.set(part, left)
    return left
  }

  /** A process that stood still, or was cut off, has lost everything: others may have it. */
  #isMine(): boolean {
    if (!this.#members.isLate) return true
    const text = `queue '${this.queue}': this process was silent for too long`
    this.#loseAll(new MersalError('MERSAL_UNAVAILABLE', text))
    return false
  }

  #loseAll(reason: Error): void {
    if (this.#sessions.size > 0)
      this.#parts.settings.logger.warn({ queue: this.queue }, reason.message)
    for (const [part, session] of this.#sessions) {
      session.lose(reason)
      void this.#leave(part)
    }
  }

  #workerOf(consumption: Consumption, onDelivery: OnDelivery): SessionPorts['worker'] {
    const { topology, prepare } = this.#parts
    const ports: OrderPorts = {
      ...this.#parts,
      queue: this.queue,
      onDelivery,
      slots: slots(consumption.concurrency),
      alone: slots(1),
      forced: this.#forced.signal,
      isMine: () => this.#isMine(),
      isOver: async (stream, { sequence }) => !(await topology.holds(stream, sequence)),
      prepare: () => prepare().catch((error: unknown) => this.#told.tell(error)),
      failed: (error) => this.#told.tell(toError(error)),
    }
    return (part: Part, over: Over) =>
      part.name === SPLIT ? splitter(ports, over) : turns(ports, part.stream, over)
  }
}
