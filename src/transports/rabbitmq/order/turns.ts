import { errorFields } from '../../../core/errors/error-text.ts'
import type { Disposition } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { deliver, inHand, type OnDelivery, postponedField } from '../../shared/deliver.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import { historyWith } from '../../shared/moves.ts'
import { arrivalOf, passing } from '../connection/known.ts'
import { isBundle } from '../connection/opened.ts'
import type { Slots } from '../connection/slots.ts'
import { asideOf } from '../consume/consumer.ts'
import type { Answer, Hold, Settler } from '../consume/settle.ts'
import type { RabbitSettings } from '../options.ts'
import {
  type HeaderTable,
  headerTable,
  numberIn,
  ownHeaders,
  toEnvelope,
} from '../publish/envelope.ts'
import type { OrderedChannel } from './channel.ts'
import type { Copies } from './copies.ts'
import { type Entry, entryOfCopy } from './entry.ts'

type Retry = Extract<Disposition, { kind: 'retry' }>
type Reject = Extract<Disposition, { kind: 'reject' }>

export interface TurnsPorts {
  /** Name of the queue of the app. */
  readonly queue: string
  /** Name of the queue of the partition. */
  readonly partitionQueue: string
  readonly channel: OrderedChannel
  readonly copies: Copies
  readonly settler: Settler
  readonly settings: RabbitSettings
  /** Of all partitions together. */
  readonly slots: Slots
  readonly onDelivery: OnDelivery
  readonly givingUp: GivingUp
  /** Aborts when nothing more is begun. */
  readonly stopping: AbortSignal
}

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
  readonly #lanes = keyLanes()
  readonly #running = inHand()

  constructor(ports: TurnsPorts) {
    this.#ports = ports
    this.#over = AbortSignal.any([ports.stopping, ports.channel.lost])
  }

  add(entry: Entry): void {
    this.#running.add(this.#lanes.run(entry.key, () => this.#turn(entry)))
  }

  /** Resolves when nothing is in hand. */
  settled(): Promise<void> {
    return this.#running.settled()
  }

  async #turn(first: Entry): Promise<void> {
    let entry: Entry | undefined = first
    while (entry !== undefined && !this.#over.aborted) entry = await this.#step(entry)
  }

  /** What is left to be done, if anything. */
  async #step(entry: Entry): Promise<Entry | undefined> {
    const waitMs = entry.dueAt - systemClock.now()
    if (waitMs > 0) await systemClock.sleep(waitMs, this.#over)
    if (this.#over.aborted) return undefined
    if (waitMs > 0 && entry.dueAt > systemClock.now()) return entry
    const known = asideOf(entry.message) ?? bundleIn(entry)
    if (known !== undefined) return this.#reject(entry, known)
    if (entry.suspect) return this.#replace(entry, { [ownHeaders.begun]: '1' })
    const disposition = await this.#ask(entry)
    return disposition === undefined ? undefined : this.#settle(entry, disposition)
  }

  async #ask({ message, attempt }: Entry): Promise<Disposition | undefined> {
    const { slots, onDelivery, queue, givingUp } = this.#ports
    const turn = slots.take()
    if (turn !== undefined) await turn
    try {
      if (this.#over.aborted) return undefined
      const since = numberIn(headerTable(message), ownHeaders.postponedSince, 0, -1)
      return await deliver(onDelivery, {
        ...postponedField(since < 0 ? undefined : since),
        message: toEnvelope(message),
        queue,
        attempt,
        givingUp,
        get signal() {
          return givingUp.signal
        },
      })
    } finally {
      slots.give()
    }
  }

  async #settle(entry: Entry, disposition: Disposition): Promise<Entry | undefined> {
    switch (disposition.kind) {
      case 'ack':
        entry.answer('ack')
        return undefined
      case 'release':
        await systemClock.sleep(RELEASED_PAUSE_MS, this.#over)
        return entry
      case 'retry':
        return this.#retry(entry, disposition)
      case 'reject':
        return this.#reject(entry, disposition)
      default:
        return disposition satisfies never
    }
  }

  #retry(entry: Entry, { delayMs, error, postponedSince }: Retry): Promise<Entry | undefined> {
    const { attempt, message } = entry
    const wish = postponedSince !== undefined
    const dueAt = Math.ceil(systemClock.now() + delayMs)
    const failure = { attempt, at: systemClock.now(), error }
    const past = headerTable(message)[ownHeaders.history]
    return this.#replace(
      { ...entry, attempt: attempt + (wish ? 0 : 1), dueAt },
      {
        [ownHeaders.dueAt]: String(dueAt),
        ...(wish
          ? { [ownHeaders.postponedSince]: String(Math.round(postponedSince)) }
          : { [ownHeaders.history]: historyWith(past, failure) }),
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
        return this.#reject(entry, tooLarge)
      case 'replaced':
        entry.answer('ack')
        return entryOfCopy(replaced.copy, false)
      default:
        return replaced satisfies never
    }
  }

  /**
   * The next one of its key must not begin while another process may still get this one: a process
   * that stood still would handle it beside that.
   */
  async #reject(entry: Entry, disposition: Reject): Promise<undefined> {
    const { settler, channel, partitionQueue, settings } = this.#ports
    let how: Answer | undefined = 'requeue'
    while (how === 'requeue' && !this.#over.aborted) {
      how = undefined
      const answer = (given: Answer): void => {
        how = given
        entry.answer(given)
      }
      await settler.settle(this.#holdOf({ ...entry, answer }), disposition)
    }
    try {
      if (!this.#over.aborted) await channel.assured(partitionQueue)
    } catch (error) {
      settings.logger.debug(errorFields(error), 'the channel of a partition was given up')
    }
  }

  #holdOf({ message, attempt, answer }: Entry): Hold {
    const { queue, channel, stopping, givingUp } = this.#ports
    const arrival = arrivalOf(queue, message)
    const known = { ...passing(arrival), attempt }
    return { queue, message, arrival, known, answer, lost: channel.lost, givingUp, stopping }
  }
}

const tooLarge: Reject = {
  kind: 'reject',
  reason: 'too-large',
  error: new Error(
    'its headers leave no room for the count of its attempts: shorten them, or raise frame_max',
  ),
}

/** One that can be opened was opened before it came here. */
function bundleIn({ message }: Entry): Reject | undefined {
  if (!isBundle(message)) return undefined
  const error = new Error('a bundle that cannot be opened')
  return { kind: 'reject', reason: 'undecodable', error }
}
