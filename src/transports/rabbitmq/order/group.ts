import type { ChannelModel } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import type { Consumption } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import type { OnDelivery } from '../../shared/deliver.ts'
import { createSlots } from '../connection/slots.ts'
import { prepareLayout } from './layout.ts'
import { releaseLock, takeLock } from './lock.ts'
import { join, type Membership } from './membership.ts'
import {
  checkOrderedName,
  lockOfPartition,
  lockOfSplitter,
  membersQueueOf,
  partitionQueueOf,
} from './names.ts'
import { openPartition, type Partition, type PartitionPorts } from './partition.ts'
import { openSplitter, type Splitter } from './splitter.ts'

export interface GroupPorts extends Omit<PartitionPorts, 'onDelivery' | 'slots' | 'forced'> {
  /** Makes the queue and its bindings again, or looks whether they are there. */
  readonly prepare: () => Promise<void>
}

/** Between two looks at who reads what, in milliseconds. */
const LOOK_EVERY_MS = 1000
/** Between two looks whether the splitter waits for consumers that keep no order. */
const LOOKS_AT_STRANGERS = 10
/** RabbitMQ closes a channel that holds a message for 30 minutes (`consumer_timeout`). */
const LONGEST_HELD_MS = 10 * 60_000

interface Owned {
  readonly partition: Partition
  leaving: boolean
}

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
  readonly #owned = new Map<number, Owned>()
  readonly #isNews = seldom(systemClock, 60_000)
  #splitter: Splitter | undefined
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
    const never = new AbortController().signal
    const slots = createSlots(consumption.concurrency, never, this.#stopping.signal)
    this.#parts = { ...ports, onDelivery, slots, forced: this.#forced.signal }
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
    await this.#splitter?.stop()
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
    const leaving = [...this.#owned].map(([index, owned]) => this.#leave(index, owned))
    await Promise.all([...leaving, this.#leaveSplitter()])
    await this.#membership?.leave()
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stopping
    for (;;) {
      await systemClock.sleep(LOOK_EVERY_MS * (0.75 + Math.random() / 2), signal)
      if (signal.aborted) return
      try {
        await this.#look()
      } catch (error) {
        this.#prepared = false
        this.#report(error)
      }
    }
  }

  #report(error: unknown): void {
    const { message } = toError(error)
    const { logger } = this.#ports.settings
    const level = isMersalError(error, 'MERSAL_INVALID_OPTIONS') ? 'error' : 'warn'
    const fields = { queue: this.queue, ...errorFields(error) }
    logger[this.#isNews(message) ? level : 'debug'](fields, 'a queue cannot be read in order yet')
  }

  async #look(): Promise<void> {
    const { link, prepare, settings } = this.#ports
    this.#forgetLost()
    if (!this.#prepared) {
      await prepare()
      await prepareLayout(this.#ports, this.queue)
      this.#prepared = true
    }
    const { connection } = await link.connection()
    if (connection !== this.#model || this.#membership?.open !== true) {
      this.#model = connection
      const members = membersQueueOf(this.queue)
      this.#membership = await join(connection, members, settings.connectTimeoutMs)
    }
    const share = Math.ceil(settings.partitions / (await this.#membership.members()))
    this.#giveAway(share)
    await this.#take(connection, this.#membership, share)
    await this.#split(connection, this.#membership)
    await this.#renew()
  }

  #forgetLost(): void {
    for (const [index, owned] of this.#owned)
      if (owned.partition.lost.aborted && !owned.leaving) void this.#forget(index, owned)
    if (this.#splitter?.lost.aborted === true) this.#splitter = undefined
  }

  /** Not taken again before its handlers have ended, whose messages come again. Never rejects. */
  async #forget(index: number, owned: Owned): Promise<void> {
    owned.leaving = true
    await owned.partition.stop()
    this.#owned.delete(index)
  }

  #staying(): readonly (readonly [number, Owned])[] {
    return [...this.#owned].filter(([, { leaving }]) => !leaving)
  }

  #giveAway(share: number): void {
    for (const [index, owned] of this.#staying().slice(share)) void this.#leave(index, owned)
  }

  /** Waits for the handlers of the partition. Never rejects. */
  async #leave(index: number, owned: Owned): Promise<void> {
    owned.leaving = true
    const model = this.#model
    await owned.partition.stop()
    await this.#release(model, lockOfPartition(this.queue, index))
    this.#owned.delete(index)
  }

  async #leaveSplitter(): Promise<void> {
    const model = this.#model
    await this.#splitter?.stop()
    if (this.#splitter !== undefined) await this.#release(model, lockOfSplitter(this.queue))
  }

  /** A lock that is not released goes with the connection. */
  async #release(model: ChannelModel | undefined, name: string): Promise<void> {
    const { connectTimeoutMs, logger } = this.#ports.settings
    try {
      if (model !== undefined) await releaseLock(model, name, connectTimeoutMs)
    } catch (error) {
      logger.debug({ queue: this.queue, ...errorFields(error) }, 'a lock was not released')
    }
  }

  async #take(model: ChannelModel, membership: Membership, share: number): Promise<void> {
    const room = share - this.#staying().length
    if (room <= 0) return
    const { partitions } = this.#ports.settings
    const free = Array.from({ length: partitions }, (_, index) => index)
      .filter((index) => !this.#owned.has(index))
      .map((index) => ({ index, rank: Math.random() }))
      .toSorted((one, other) => one.rank - other.rank)
    const mine: number[] = []
    for (const { index } of free) {
      if (mine.length === room) break
      if (await this.#lock(model, membership, index)) mine.push(index)
    }
    await Promise.all(mine.map((index) => this.#open(model, index)))
  }

  /** A former owner may still be a consumer for a moment. */
  async #lock(model: ChannelModel, membership: Membership, index: number): Promise<boolean> {
    const queue = partitionQueueOf(this.queue, index)
    if ((await membership.consumersOf(queue)) > 0) return false
    const lock = lockOfPartition(this.queue, index)
    if (!(await takeLock(model, lock, this.#ports.settings.connectTimeoutMs))) return false
    if ((await membership.consumersOf(queue)) === 0) return true
    await this.#release(model, lock)
    return false
  }

  async #open(model: ChannelModel, index: number): Promise<void> {
    try {
      const partition = await openPartition(this.#parts, model, this.queue, index)
      this.#owned.set(index, { partition, leaving: false })
    } catch (error) {
      await this.#release(model, lockOfPartition(this.queue, index))
      throw error
    }
  }

  /** Begins when nobody else reads the queue. */
  async #split(model: ChannelModel, membership: Membership): Promise<void> {
    if (this.#splitter !== undefined) return
    const { settings } = this.#ports
    const others = await membership.consumersOf(this.queue)
    if (others > 0 && ++this.#looks % LOOKS_AT_STRANGERS !== 0) return
    const lock = lockOfSplitter(this.queue)
    if (!(await takeLock(model, lock, settings.connectTimeoutMs))) return
    if ((await membership.consumersOf(this.queue)) === 0)
      this.#splitter = await openSplitter(this.#ports, model, this.queue)
    else {
      await this.#release(model, lock)
      settings.logger.warn(
        { queue: this.queue, consumers: others },
        'consumers that keep no order read this queue; ordered reading begins when they have stopped',
      )
    }
  }

  /** What is held for long goes back, in order, and comes again, before RabbitMQ ends the channel. */
  async #renew(): Promise<void> {
    for (const [index, { partition }] of this.#staying()) {
      if (partition.heldMs() < LONGEST_HELD_MS) continue
      await partition.stop()
      this.#owned.delete(index)
    }
    if (this.#splitter !== undefined && this.#splitter.heldMs() >= LONGEST_HELD_MS) {
      await this.#splitter.stop()
      this.#splitter = undefined
    }
  }
}
