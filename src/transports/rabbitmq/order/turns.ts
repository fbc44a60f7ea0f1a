import { HEADER_BYTES, historyWith } from '../../../core/errors/attempts.ts'
import { errorFields } from '../../../core/errors/error-text.ts'
import type { Disposition } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { type GivingUp, linkAbort } from '../../../lib/async/linked-abort.ts'
import { type Slots, slots } from '../../../lib/async/slots.ts'
import type { InHand, OnDelivery } from '../../shared/deliver.ts'
import type { Reject } from '../../shared/receiving/held-messages.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import { arrivalOf, passing } from '../connection/known.ts'
import { isBundle } from '../connection/opened.ts'
import { ask } from '../consume/ask.ts'
import { asideOf } from '../consume/consumer.ts'
import { type Hold, type Settler, tooLarge } from '../consume/settle.ts'
import type { RabbitSettings } from '../options.ts'
import { type HeaderTable, headerTable, ownHeaders } from '../publish/envelope.ts'
import type { OrderedChannel } from './channel.ts'
import type { Copies } from './copies.ts'
import { type Entry, entryOfCopy, marks, type Past } from './entry.ts'
import type { Repeats } from './repeats.ts'

type Retry = Extract<Disposition, { kind: 'retry' }>

export interface TurnsPorts {
  /** Name of the queue of the app. */
  readonly queue: string
  /** Name of the queue of the partition. */
  readonly partitionQueue: string
  readonly channel: OrderedChannel
  readonly copies: Copies
  readonly repeats: Repeats
  /** What the reader of the partition waits for when it stops. */
  readonly running: InHand
  readonly settler: Settler
  readonly settings: RabbitSettings
  /** Of all partitions together. */
  readonly slots: Slots
  /** For those that may end the process. */
  readonly alone: Slots
  readonly onDelivery: OnDelivery
  readonly givingUp: GivingUp
  /** Aborts when nothing more is begun. */
  readonly stopping: AbortSignal
}

/**
 * Messages of a partition whose turn has come and not ended, at most. Each that is tried again has
 * left its place in the queue, so that the broker gives others.
 */
const MOST_TURNS = 500
/** Between two tries to handle what the app did not want to handle now, in milliseconds. */
const RELEASED_PAUSE_MS = 250

/**
 * Handles the messages of one partition, those of one key one after the other. A message keeps the
 * turn of its key until it has been handled or is a dead letter. What has not ended when the
 * channel goes stays without an answer, and goes back in order.
 */
export class Turns {
  readonly #ports: TurnsPorts
  readonly #over: AbortSignal
  /** The same, for many that follow it. */
  readonly #ending: GivingUp
  readonly #lanes = keyLanes()
  readonly #rooms = slots(MOST_TURNS)

  constructor(ports: TurnsPorts) {
    this.#ports = ports
    this.#over = AbortSignal.any([ports.stopping, ports.channel.lost])
    this.#ending = linkAbort(this.#over)
  }

  add(entry: Entry): void {
    const turn = () => this.#inSlot(this.#rooms, () => this.#turn(entry))
    this.#ports.running.add(this.#lanes.run(entry.key, turn))
  }

  async #turn(first: Entry): Promise<void> {
    let entry: Entry | undefined = first
    while (entry !== undefined && !this.#over.aborted) entry = await this.#step(entry)
  }

  /** What is left to be done, if anything. */
  async #step(entry: Entry): Promise<Entry | undefined> {
    const waitMs = entry.dueAt - systemClock.monotonic()
    if (waitMs > 0) await systemClock.sleep(waitMs, this.#over)
    if (this.#over.aborted) return undefined
    if (waitMs > 0 && entry.dueAt > systemClock.monotonic()) return entry
    const known = entry.verdict ?? asideOf(entry.message) ?? bundleIn(entry)
    if (known !== undefined) return this.#reject(entry, known)
    // What became of it is written down before the next one that may end the process.
    const { alone } = this.#ports
    const handle = (): Promise<Entry | undefined> => this.#handle(entry)
    return entry.past === 'charged' ? this.#inSlot(alone, handle) : handle()
  }

  async #handle(entry: Entry): Promise<Entry | undefined> {
    const decided = await this.#inSlot(this.#ports.slots, () => this.#begin(entry))
    return decided === undefined ? undefined : this.#settle(decided, entry.past)
  }

  /** What still waits when nothing more is to be begun goes away at once, whoever has the slots. */
  async #inSlot<Result>(
    those: Slots,
    work: () => Promise<Result | undefined>,
  ): Promise<Result | undefined> {
    if (!(await those.take(this.#ending))) return undefined
    try {
      return await work()
    } finally {
      those.giveBack()
    }
  }

  /**
   * Has its slot by now: what only waits for one must not be marked, or it would be charged when
   * this process ends. What is marked is handled, even if nothing more is to be begun.
   */
  async #begin(entry: Entry): Promise<Decided | undefined> {
    if (this.#over.aborted) return undefined
    const marked = entry.past === 'suspect' || entry.past === 'charged'
    // Also if its copy is written and does not come any more.
    if (marked) this.#ports.settler.begunHere.begin({ ...entry, alone: entry.past === 'charged' })
    const begun = marked ? await this.#replace(entry, { [ownHeaders.begun]: marks.begun }) : entry
    if (begun === undefined) return undefined
    return { entry: begun, disposition: begun.verdict ?? (await this.#ask(begun)) }
  }

  #ask({ message, attempt }: Entry): Promise<Disposition> {
    const { onDelivery, queue, givingUp } = this.#ports
    return ask(onDelivery, { message, queue, attempt, givingUp })
  }

  /** `past`: before it was begun. */
  async #settle({ entry, disposition }: Decided, past: Past): Promise<Entry | undefined> {
    switch (disposition.kind) {
      case 'ack':
        entry.answer('ack')
        return undefined
      case 'release':
        return this.#release(entry, past)
      case 'retry':
        return this.#retry(entry, disposition)
      case 'reject':
        return this.#reject(entry, disposition)
      default:
        return disposition satisfies never
    }
  }

  /** What was marked and did not run is not charged. */
  async #release(entry: Entry, past: Past): Promise<Entry | undefined> {
    const mark = past === 'charged' ? { [ownHeaders.begun]: marks.charged } : {}
    const again = entry.past === 'begun' ? await this.#replace(entry, mark) : entry
    await systemClock.sleep(RELEASED_PAUSE_MS, this.#over)
    return again === undefined ? undefined : { ...again, past }
  }

  #retry(entry: Entry, { delayMs, error, postponedSince }: Retry): Promise<Entry | undefined> {
    const { attempt, message } = entry
    const wish = postponedSince !== undefined
    const failure = { attempt, at: systemClock.now(), error }
    const past = headerTable(message)[ownHeaders.history]
    return this.#replace(
      { ...entry, attempt: attempt + (wish ? 0 : 1) },
      {
        [ownHeaders.dueAt]: String(Math.ceil(systemClock.now() + delayMs)),
        [ownHeaders.delay]: String(Math.ceil(delayMs)),
        ...(wish
          ? { [ownHeaders.postponedSince]: String(Math.round(postponedSince)) }
          : { [ownHeaders.history]: historyWith(past, failure, HEADER_BYTES) }),
      },
    )
  }

  /** Writes down what is known of the message, in a copy that takes its place. */
  async #replace(entry: Entry, news: HeaderTable): Promise<Entry | undefined> {
    const { copies } = this.#ports
    const given = headerTable(entry.message)
    const kept = [ownHeaders.history, ownHeaders.postponedSince]
      .filter((name) => given[name] !== undefined)
      .map((name) => [name, given[name]])
    const replaced = await copies.replace(this.#holdOf(entry), {
      ...Object.fromEntries(kept),
      [ownHeaders.lineage]: entry.lineage,
      [ownHeaders.attempt]: entry.attempt,
      ...news,
    })
    switch (replaced.kind) {
      case 'kept':
        return undefined
      case 'impossible':
        return this.#reject(entry, tooLarge())
      case 'replaced':
        entry.answer('ack')
        return entryOfCopy(replaced.copy)
      default:
        return replaced satisfies never
    }
  }

  /**
   * The next one of its key must not begin while another process may still get this one: a process
   * that stood still would handle it beside that.
   */
  async #reject(entry: Entry, disposition: Reject): Promise<Entry | undefined> {
    const { settler, channel, partitionQueue, settings, repeats } = this.#ports
    // Before anybody can put it back.
    repeats.forget(entry.message)
    const how = await settler.answerTo(this.#holdOf(entry), disposition)
    if (how === 'requeue') return { ...entry, verdict: disposition }
    if (how !== undefined) entry.answer(how)
    try {
      if (!this.#over.aborted) await channel.assured(partitionQueue)
    } catch (error) {
      settings.logger.debug(errorFields(error), 'the channel of a partition was given up')
    }
    return undefined
  }

  #holdOf({ message, attempt, answer }: Entry): Hold {
    const { queue, channel, stopping, givingUp } = this.#ports
    const arrival = arrivalOf(queue, message)
    const known = { ...passing(arrival), attempt }
    return { queue, message, arrival, known, answer, lost: channel.lost, givingUp, stopping }
  }
}

interface Decided {
  readonly entry: Entry
  readonly disposition: Disposition
}

/** One that can be opened was opened before it came here. */
function bundleIn({ message }: Entry): Reject | undefined {
  if (!isBundle(message)) return undefined
  const error = new Error('a bundle that cannot be opened')
  return { kind: 'reject', reason: 'undecodable', error }
}
