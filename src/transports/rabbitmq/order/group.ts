import type { ChannelModel } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import type { Consumption } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { abortable } from '../../../lib/async/linked-abort.ts'
import { rounds } from '../../../lib/async/rounds.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { slots } from '../../../lib/async/slots.ts'
import type { OnDelivery } from '../../shared/deliver.ts'
import { Holdings } from './holdings.ts'
import { prepareLayout } from './layout.ts'
import { join, type Membership } from './membership.ts'
import {
  checkOrderedName,
  lockOfPartition,
  lockOfSplitter,
  membersQueueOf,
  partitionQueueOf,
} from './names.ts'
import { openPartition, type PartitionPorts } from './partition.ts'
import { Vacancies } from './vacancies.ts'
import { openSplitter } from './split/splitter.ts'

export interface GroupPorts
  extends Omit<PartitionPorts, 'onDelivery' | 'slots' | 'alone' | 'stopping' | 'forced'> {
  /** Makes the queue and its bindings again, or looks whether they are there. */
  readonly prepare: () => Promise<void>
  /** What is held for longer than this is given back, in milliseconds. */
  readonly longestHeldMs: number
}

/** Between two looks at who reads what, in milliseconds. */
const LOOK_EVERY_MS = 1000
/** Between two looks whether the splitter waits for consumers that keep no order. */
const LOOKS_AT_STRANGERS = 10
/** RabbitMQ closes a channel that holds a message for 30 minutes (`consumer_timeout`). */
export const LONGEST_HELD_MS: number = 10 * 60_000

/**
 * Reads a queue in order: this process takes its share of the partitions, and gives some back when
 * others come. A partition, and the work of the splitter, belongs to the process whose connection
 * holds its lock.
 */
export class Group implements AsyncDisposable {
  readonly #ports: GroupPorts
  readonly #consumption: Consumption
  readonly #stopping = new AbortController()
  readonly #forced = new AbortController()
  readonly #parts: PartitionPorts
  readonly #partitions: Holdings
  readonly #splitting: Holdings
  readonly #isNews = seldom(systemClock, 60_000)
  readonly #rounds = rounds(systemClock, LOOK_EVERY_MS, Math.random)
  readonly #vacancies = new Vacancies(systemClock)
  readonly #aheadOn = new WeakMap<ChannelModel, number>()
  #model: ChannelModel | undefined
  #membership: Membership | undefined
  #prepared = false
  #looks = 0
  #looking: Promise<void> | undefined
  #disposing: Promise<void> | undefined

  constructor(ports: GroupPorts, consumption: Consumption, onDelivery: OnDelivery) {
    checkOrderedName(consumption.queue)
    this.#ports = ports
    this.#consumption = consumption
    const onLost = (lock: string): void => {
      this.#vacancies.lost(lock)
      this.#rounds.hurry()
      this.#lost()
    }
    this.#partitions = new Holdings(ports.settings, onLost)
    this.#splitting = new Holdings(ports.settings, onLost)
    this.#parts = {
      ...ports,
      onDelivery,
      slots: slots(consumption.concurrency),
      alone: slots(1),
      stopping: this.#stopping.signal,
      forced: this.#forced.signal,
    }
  }

  get queue(): string {
    return this.#consumption.queue
  }

  /** Rejects if the first try fails; afterwards it recovers by itself. */
  async start(): Promise<void> {
    try {
      await this.#look()
    } catch (error) {
      await this[Symbol.asyncDispose]()
      throw error instanceof MersalError
        ? error
        : new MersalError('MERSAL_UNAVAILABLE', this.#ports.describe(error), { cause: error })
    }
    this.#looking = this.#keepLooking()
  }

  /** The queue is about to be made again. */
  async letGo(): Promise<void> {
    this.#prepared = false
    await this.#splitting.leaveAll()
  }

  force(reason: Error): void {
    this.#stopping.abort(reason)
    this.#forced.abort(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#disposing ??= this.#dispose())
  }

  async #dispose(): Promise<void> {
    this.#stopping.abort(new MersalError('MERSAL_APP_STOPPED', 'the consumer stops'))
    await this.#looking
    await Promise.all([this.#partitions.leaveAll(), this.#splitting.leaveAll()])
    await this.#membership?.leave()
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stopping
    for (;;) {
      await this.#rounds.next(signal)
      if (signal.aborted) return
      try {
        await this.#look()
        this.#consumption.onTrouble?.(undefined)
      } catch (error) {
        if (signal.aborted) return
        this.#prepared = false
        this.#consumption.onTrouble?.(toError(error))
        this.#report(error)
      }
    }
  }

  /** Until the next look, which may have to wait for a connection. */
  #lost(): void {
    if (this.#stopping.signal.aborted) return
    const text = `queue '${this.queue}': the hold on a part of it was lost`
    this.#consumption.onTrouble?.(new MersalError('MERSAL_UNAVAILABLE', text))
  }

  #report(error: unknown): void {
    // Of many queues in the same trouble one is named.
    const { message } = toError((error as { cause?: unknown } | undefined)?.cause ?? error)
    const { logger } = this.#ports.settings
    const level = isMersalError(error, 'MERSAL_INVALID_OPTIONS') ? 'error' : 'warn'
    const fields = { queue: this.queue, ...errorFields(error) }
    logger[this.#isNews(message) ? level : 'debug'](fields, 'a queue cannot be read in order yet')
  }

  /** Waits for no handler: then what others hold would be held for too long. */
  async #look(): Promise<void> {
    const { settings, longestHeldMs } = this.#ports
    const { signal } = this.#stopping
    this.#partitions.leaveSpent(longestHeldMs)
    this.#splitting.leaveSpent(longestHeldMs)
    // A stop does not wait for a broker that is away.
    const connection = await abortable(signal, () => this.#connected())
    const membership = await this.#join(connection)
    const share = Math.ceil(settings.partitions / (await membership.members()))
    for (const lock of this.#partitions.staying().slice(share)) void this.#partitions.leave(lock)
    await this.#take(connection, membership, share)
    this.#vacancies.looked()
    if (!signal.aborted) await this.#split(connection, membership)
  }

  async #connected(): Promise<ChannelModel> {
    const { link, prepare } = this.#ports
    if (!this.#prepared) {
      await prepare()
      await prepareLayout(this.#ports, this.queue)
      this.#prepared = true
    }
    return (await link.connection()).connection
  }

  async #join(model: ChannelModel): Promise<Membership> {
    const former = this.#membership
    if (model === this.#model && former?.open === true) return former
    this.#membership = undefined
    await former?.leave()
    const { connectTimeoutMs } = this.#ports.settings
    this.#membership = await join(model, membersQueueOf(this.queue), connectTimeoutMs)
    if (model !== this.#model) this.#vacancies.connected()
    this.#model = model
    return this.#membership
  }

  async #take(model: ChannelModel, membership: Membership, share: number): Promise<void> {
    const room = share - this.#partitions.staying().length
    const opening: Promise<Error | undefined>[] = []
    try {
      for (const index of this.#notHeld()) {
        if (opening.length >= room || this.#stopping.signal.aborted) break
        if (await this.#lock(model, membership, index)) opening.push(this.#open(model, index))
      }
    } finally {
      // Before the next look, which would take them for free.
      await Promise.all(opening)
    }
    const failure = (await Promise.all(opening)).find((error) => error !== undefined)
    if (failure !== undefined) throw failure
  }

  /**
   * What this process had before comes first. The others in any order, so that processes which
   * begin together do not ask for the same ones.
   */
  #notHeld(): readonly number[] {
    const rank = (lock: string): number => (this.#vacancies.isMine(lock) ? 0 : 1 + Math.random())
    return Array.from({ length: this.#ports.settings.partitions }, (_, index) => index)
      .filter((index) => !this.#partitions.has(lockOfPartition(this.queue, index)))
      .map((index) => ({ index, rank: rank(lockOfPartition(this.queue, index)) }))
      .toSorted((one, other) => one.rank - other.rank)
      .map(({ index }) => index)
  }

  /** A former owner may still be a consumer for a moment. */
  async #lock(model: ChannelModel, membership: Membership, index: number): Promise<boolean> {
    const queue = partitionQueueOf(this.queue, index)
    const isFree = async (): Promise<boolean> => (await membership.consumersOf(queue)) === 0
    const lock = lockOfPartition(this.queue, index)
    if (!(await isFree())) {
      this.#vacancies.taken(lock)
      return false
    }
    if (!this.#vacancies.mayTake(lock)) {
      this.#rounds.hurry()
      return false
    }
    return await this.#partitions.lock(model, lock, isFree)
  }

  async #open(model: ChannelModel, index: number): Promise<Error | undefined> {
    const lock = lockOfPartition(this.queue, index)
    const open = () => openPartition(this.#parts, model, this.queue, index)
    const failure = await this.#partitions.read(model, lock, open)
    if (failure !== undefined) return notRead(partitionQueueOf(this.queue, index), failure)
    this.#vacancies.took(lock)
    return undefined
  }

  /** Begins when nobody else reads the queue. */
  async #split(model: ChannelModel, membership: Membership): Promise<void> {
    const lock = lockOfSplitter(this.queue)
    if (this.#splitting.has(lock)) return
    const others = await membership.consumersOf(this.queue)
    if (others > 0 && ++this.#looks % LOOKS_AT_STRANGERS !== 0) return
    const isFree = async (): Promise<boolean> => {
      const consumers = await membership.consumersOf(this.queue)
      if (consumers > 0) this.#reportStrangers(consumers)
      return consumers === 0
    }
    if (!(await this.#splitting.lock(model, lock, isFree))) return
    const open = () => openSplitter(this.#parts, model, this.queue, this.#aheadOn)
    const failure = await this.#splitting.read(model, lock, open)
    if (failure !== undefined) throw failure
  }

  #reportStrangers(consumers: number): void {
    this.#ports.settings.logger.warn(
      { queue: this.queue, consumers },
      'consumers that keep no order read this queue; ordered reading begins when they have stopped',
    )
  }
}

/** One of many queues: whoever looks into the broker has to know which. */
function notRead(queue: string, cause: Error): MersalError {
  const code = isMersalError(cause) ? cause.code : 'MERSAL_UNAVAILABLE'
  return new MersalError(code, `queue '${queue}' cannot be read: ${cause.message}`, { cause })
}
