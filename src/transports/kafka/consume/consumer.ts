import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Consumption, Disposition } from '../../../core/transport.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { abortable, endedOrAborted, linkAbort } from '../../../lib/async/linked-abort.ts'
import { setAside } from '../../shared/aside.ts'
import { deliver, inHand, type OnDelivery, postponedField } from '../../shared/deliver.ts'
import { type Trouble, trouble } from '../../shared/receiving/trouble.ts'
import { within } from '../../shared/within.ts'
import { mayBeMissing } from '../connection/faults.ts'
import { keyOf, type Place } from '../connection/records.ts'
import type { KafkaSettings } from '../options.ts'
import type { Topology } from '../topology/topology.ts'
import { decodeAside } from './aside.ts'
import { Committer } from './committer.ts'
import { Fetcher } from './fetcher.ts'
import { Membership, REBALANCE_MS } from './membership.ts'
import { openPartition } from './open-partition.ts'
import { remaker } from './remake.ts'
import { chosenFrom, type Entry, giveBack, type Partition, take } from './partition.ts'
import type { Settler } from './settle.ts'

const backoff = { firstMs: 100, longestMs: 3000 }
/** Longest wait of a consumer for its first partition before it says that it has begun. */
const LONGEST_START_MS = 3000
const LONGEST_TIMER_MS = 60_000
/** A stop does not wait for brokers that are away. */
const LONGEST_GOODBYE_MS = 2000

export interface ConsumerParts {
  readonly topology: Topology
  readonly settler: Settler
  readonly settings: KafkaSettings
  /** Makes the topics and their subscriptions again, or looks whether they are there. */
  readonly prepare: () => Promise<void>
}

/** Receives from one queue until it is disposed. */
export class Consumer implements AsyncDisposable {
  readonly #parts: ConsumerParts
  readonly #consumption: Consumption
  readonly #onDelivery: OnDelivery
  readonly #membership: Membership
  readonly #fetcher: Fetcher
  readonly #committer: Committer
  readonly #partitions = new Map<string, Partition>()
  /** Partitions that are being opened. */
  readonly #gaining = new Map<string, symbol>()
  readonly #work = inHand()
  readonly #stopping = new AbortController()
  readonly #closing = new AbortController()
  #dispatching: Promise<void> | undefined
  readonly #makeAgain: () => Promise<void>
  #again = false
  #timer: NodeJS.Timeout | undefined
  #loops: readonly Promise<void>[] = []
  readonly #told: Trouble

  constructor(parts: ConsumerParts, consumption: Consumption, onDelivery: OnDelivery) {
    this.#parts = parts
    this.#consumption = consumption
    this.#onDelivery = onDelivery
    const { topology, settings } = parts
    this.#told = trouble(settings.logger, consumption)
    this.#makeAgain = remaker(parts.prepare, this.#told)
    this.#membership = new Membership({
      topology,
      settings,
      queue: consumption.queue,
      gained: (places) => {
        for (const place of places) this.#loops = [...this.#loops, this.#gain(place)]
      },
      leaving: (places) => this.#letGo(places),
      lost: (reason) => this.#loseAll(reason),
      answered: (failure) => this.#groupAnswered(failure),
    })
    const own = { topology, settings, queue: consumption.queue, partitions: this.#partitions }
    const failed = (error: unknown): void => this.#failed(error)
    this.#fetcher = new Fetcher({
      ...own,
      stopping: this.#stopping.signal,
      failed,
      arrived: () => {
        if (!this.#fetcher.hasTrouble) this.#told.over()
        void this.#dispatch()
      },
    })
    this.#committer = new Committer({
      ...own,
      membership: this.#membership,
      closing: this.#closing.signal,
      failed,
    })
  }

  get queue(): string {
    return this.#consumption.queue
  }

  /** Rejects if the first try fails; afterwards it goes on by itself. */
  async start(): Promise<void> {
    const { prepare, topology } = this.#parts
    await prepare()
    await topology.ask(`joining the group of queue '${this.queue}'`, () => this.#membership.join())
    const { signal } = this.#closing
    this.#loops = [...this.#loops, this.#membership.run(signal), this.#committer.purgeNowAndThen()]
    using enough = linkAbort(signal)
    await Promise.race([
      this.#membership.hasSome,
      systemClock.sleep(LONGEST_START_MS, enough.signal),
    ])
    enough.abort('begun')
  }

  /** Tells the handlers that their messages are lost; the connections are about to be closed. */
  force(reason: Error): void {
    this.#stopping.abort(reason)
    this.#closing.abort(reason)
    this.#loseAll(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new MersalError('MERSAL_APP_STOPPED', 'the consumer stops'))
    clearTimeout(this.#timer)
    await this.#dispatching
    await endedOrAborted(this.#work.settled(), this.#closing.signal)
    const wasForced = this.#closing.signal.aborted
    if (!wasForced) await this.#goodbye()
    this.#closing.abort()
    for (const partition of this.#partitions.values())
      partition.lose(new MersalError('MERSAL_APP_STOPPED', 'the consumer has stopped'))
    this.#partitions.clear()
    this.#fetcher.close()
    await Promise.all(this.#loops)
  }

  /** What is decided is noted, and others need not wait for the end of the session. */
  async #goodbye(): Promise<void> {
    const say = async (): Promise<void> => {
      await this.#committer.commit(1)
      await this.#membership.leave()
    }
    try {
      await within(systemClock, LONGEST_GOODBYE_MS, `the group of queue '${this.queue}'`, say())
    } catch (error) {
      this.#parts.settings.logger.debug(
        { queue: this.queue, ...errorFields(error) },
        'a consumer has stopped without a word to its group',
      )
    }
  }

  /** Reads where a partition stands; then its messages come. */
  async #gain(place: Place): Promise<void> {
    const key = keyOf(place)
    const token = Symbol(key)
    this.#gaining.set(key, token)
    const isWanted = (): boolean =>
      this.#gaining.get(key) === token && !this.#stopping.signal.aborted
    for (let failures = 1; isWanted(); failures++) {
      try {
        const partition = await abortable(this.#stopping.signal, () =>
          this.#parts.topology.raw((cluster) => openPartition(cluster, this.#membership, place)),
        )
        // It may have gone to another consumer meanwhile.
        if (!isWanted()) return
        this.#gaining.delete(key)
        this.#partitions.set(key, partition)
        return this.#poke()
      } catch (error) {
        if (!isWanted()) return
        this.#failed(error)
        await systemClock.sleep(backoffMs(backoff, failures, Math.random), this.#stopping.signal)
      }
    }
  }

  /** Waits for what is in hand, then notes where they stand. */
  async #letGo(places: readonly Place[]): Promise<void> {
    for (const place of places) this.#gaining.delete(keyOf(place))
    const leaving = places
      .map((place) => this.#partitions.get(keyOf(place)))
      .filter((partition) => partition !== undefined)
    for (const partition of leaving) partition.isLeaving = true
    const until = systemClock.monotonic() + REBALANCE_MS / 2
    const { signal } = this.#closing
    while (leaving.some(({ inHand: count, lost }) => count > 0 && !lost.aborted)) {
      if (systemClock.monotonic() > until || signal.aborted) break
      await systemClock.sleep(20, signal)
    }
    await this.#committer.commit()
    const text = `queue '${this.queue}': the partition goes to another consumer`
    for (const partition of leaving) {
      partition.lose(new MersalError('MERSAL_UNAVAILABLE', text))
      if (this.#partitions.get(keyOf(partition)) === partition)
        this.#partitions.delete(keyOf(partition))
    }
  }

  /** One without partitions fetches nothing, so that nothing else tells of its trouble. */
  #groupAnswered(failure: unknown): void {
    if (failure !== undefined) this.#told.note(failure)
    else if (this.#partitions.size + this.#gaining.size === 0) this.#told.over()
  }

  #loseAll(reason: Error): void {
    const isOpen = !this.#closing.signal.aborted
    if (isOpen) this.#told.note(reason)
    if (isOpen && [...this.#partitions.values()].some(({ inHand: count }) => count > 0))
      this.#parts.settings.logger.warn(
        { queue: this.queue, ...errorFields(reason) },
        'lost the hold on messages',
      )
    for (const partition of this.#partitions.values()) partition.lose(reason)
    this.#partitions.clear()
    this.#gaining.clear()
  }

  /** Begins whatever can be begun: fetching, handing out. */
  #poke(): void {
    if (this.#stopping.signal.aborted) return
    void this.#dispatch()
    void this.#fetcher.begin()
  }

  #failed(error: unknown): void {
    if (this.#stopping.signal.aborted) return
    this.#told.tell(error)
    if (mayBeMissing(error)) void this.#makeAgain()
  }

  /** Hands out what may be, one round at a time. */
  #dispatch(): Promise<void> {
    this.#again = true
    this.#dispatching ??= this.#rounds().finally(() => (this.#dispatching = undefined))
    return this.#dispatching
  }

  async #rounds(): Promise<void> {
    const { signal } = this.#stopping
    while (this.#again && !signal.aborted) {
      this.#again = false
      const free = this.#consumption.concurrency - this.#work.count
      const chosen = chosenFrom(this.#partitions.values(), free)
      if (chosen.length === 0) break
      for (const entry of chosen) take(entry)
      // It counts before a handler has it, so that one that kills its process is found out.
      await endedOrAborted(this.#committer.commit(), signal)
      for (const entry of chosen) {
        if (entry.partition.lost.aborted || signal.aborted) giveBack(entry)
        else this.#work.add(this.#handle(entry))
      }
      this.#again = true
    }
    this.#wakeLater()
  }

  #wakeLater(): void {
    clearTimeout(this.#timer)
    if (this.#stopping.signal.aborted) return
    const now = systemClock.now()
    const next = Math.min(...[...this.#partitions.values()].map((one) => one.nextDue(now)))
    if (next === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#poke(), Math.min(next - now + 1, LONGEST_TIMER_MS))
    this.#timer.unref()
  }

  async #handle(entry: Entry): Promise<void> {
    const { partition } = entry
    const disposition = await this.#decide(entry)
    if (this.#membership.isStale) this.#membership.fenced()
    const { signal } = this.#stopping
    const settled = partition.lost.aborted
      ? 'open'
      : await this.#parts.settler.settle(this.queue, entry, disposition, signal)
    entry.isInHand = false
    partition.isDirty = true
    if (settled === 'done') partition.done(entry)
    void this.#committer.commit()
    // In the next turn, when this work is no longer counted.
    setImmediate(() => this.#poke())
  }

  async #decide({ arrived, attempts, since, partition }: Entry): Promise<Disposition> {
    const aside = decodeAside(arrived.own.aside)
    if (aside !== undefined) return setAside(aside.reason, aside.error)
    using linked = linkAbort(partition.lost, this.#closing.signal)
    return await deliver(this.#onDelivery, {
      message: arrived.envelope,
      queue: this.queue,
      attempt: attempts,
      ...postponedField(since),
      signal: linked.signal,
    })
  }
}
