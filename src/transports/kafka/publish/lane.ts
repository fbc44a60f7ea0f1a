import { initProducerIdV5, NumericMap, produceV11 } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import type { PublishOutcome } from '../../../core/transport.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { confirmed, unavailable, unknown } from '../../shared/outcomes.ts'
import type { Describe } from '../../shared/describe.ts'
import type { TakeBack } from '../../shared/stop.ts'
import type { KafkaLink } from '../connection/cluster.ts'
import type { Place } from '../connection/records.ts'
import {
  type Answer,
  type Condemned,
  failureOf,
  type Final,
  type Passing,
  type Sent,
} from './failure.ts'
import { wireBytes, type WireHeaders } from './wire.ts'

/** One record for one partition. Without a body it removes what had its key before. */
export interface Parcel extends Place {
  readonly key?: Buffer
  readonly headers: WireHeaders
  readonly body: Uint8Array | null
}

interface Waiting {
  readonly parcel: Parcel
  readonly bytes: number
  /** Asked when its turn comes: an answer if it must not be sent. */
  readonly gate: () => PublishOutcome | undefined
  readonly settle: (answer: Answer) => void
}

/** A batch with several messages stays below this: brokers limit batches, not messages. */
const BATCH_BYTES = 512 * 1024
const MOST_MESSAGES = 2000
const LAST_SEQUENCE = 2 ** 31 - 1 - MOST_MESSAGES
const ALL = -1
const pause = { firstMs: 50, longestMs: 1000 }
/** In place of the time of a record: the broker compares it with nothing. */
const NO_TIME = -1n
const TIMELESS_MS = 60_000

/** What one try has come to. */
type Try = { readonly kind: 'stored' } | Condemned | Passing | Final

interface Producer {
  readonly id: bigint
  readonly epoch: number
  /** Sequence of the next message. */
  next: number
}

export interface LanePorts {
  readonly link: KafkaLink
  readonly describe: Describe
  readonly confirmTimeoutMs: number
  /** The answer to a message above the limit of the broker. */
  readonly tooLarge: (topic: string, bytes: number) => Promise<PublishOutcome>
  /** The broker does not take the time that this machine has. */
  readonly clockIsOff: (topic: string) => void
}

/**
 * The way into one partition: one batch at a time, so that nothing overtakes. A batch is sent again
 * with the same numbers until its answer is known or its time is up, and the broker stores it once.
 */
export class Lane {
  readonly #ports: LanePorts
  readonly #place: Place
  readonly #waiting = new Set<Waiting>()
  #running = false
  #producer: Producer | undefined
  /** Until then records carry no time, since the broker has refused it. Monotonic. */
  #timelessUntil = 0

  constructor(ports: LanePorts, place: Place) {
    this.#ports = ports
    this.#place = place
  }

  add(parcel: Parcel, gate: Waiting['gate'], settle: Waiting['settle']): TakeBack {
    const bytes = wireBytes(parcel.key, parcel.headers, parcel.body)
    const waiting = { parcel, bytes, gate, settle }
    this.#waiting.add(waiting)
    if (!this.#running) {
      this.#running = true
      // What is handed over in the same turn travels together.
      setImmediate(() => void this.#run())
    }
    return () => this.#waiting.delete(waiting)
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch = this.#take()
      if (batch.length > 0) await this.#send(batch)
    }
    this.#running = false
  }

  #take(): readonly Waiting[] {
    const batch: Waiting[] = []
    let bytes = 0
    for (const waiting of this.#waiting) {
      if (
        batch.length > 0 &&
        (bytes + waiting.bytes > BATCH_BYTES || batch.length >= MOST_MESSAGES)
      )
        break
      this.#waiting.delete(waiting)
      const answer = waiting.gate()
      if (answer !== undefined) {
        waiting.settle(answer)
        continue
      }
      batch.push(waiting)
      bytes += waiting.bytes
    }
    return batch
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const result = await this.#untilKnown(batch)
    if (result.kind !== 'condemned') {
      for (const { settle } of batch) settle(result)
      return
    }
    const [only] = batch
    if (batch.length === 1 && only !== undefined) only.settle(await this.#refusal(only, result))
    // None is refused for its neighbours.
    else for (const one of batch) await this.#send(this.#passed([one]))
  }

  async #refusal({ bytes }: Waiting, { why }: Condemned): Promise<PublishOutcome> {
    if (why !== 'too-large') return why
    return await this.#ports.tooLarge(this.#place.topic, bytes)
  }

  /** Those that may still be sent, after others of the batch have been refused. */
  #passed(batch: readonly Waiting[]): readonly Waiting[] {
    return batch.filter(({ gate, settle }) => {
      const answer = gate()
      if (answer !== undefined) settle(answer)
      return answer === undefined
    })
  }

  async #untilKnown(batch: readonly Waiting[]): Promise<Answer | Condemned> {
    if (batch.length === 0) return confirmed
    const until = systemClock.monotonic() + this.#ports.confirmTimeoutMs
    let unsure: Error | undefined
    let fenced = 0
    for (let tries = 1; ; tries++) {
      const result = await this.#try(batch, unsure !== undefined)
      switch (result.kind) {
        case 'stored':
          return confirmed
        case 'condemned':
          return unsure === undefined ? result : this.#unsure(unsure)
        case 'answer':
          return unsure === undefined ? result.answer : this.#unsure(unsure)
        case 'away':
          // Nothing of it was written. Whoever sends it knows better when to try again.
          if (unsure === undefined) return this.#away(result.error)
          break
        case 'fenced':
          // The broker has forgotten this producer, or never stored what it sent before.
          this.#producer = undefined
          if (unsure !== undefined) return this.#unsure(unsure)
          if (++fenced > 3) return this.#away(result.error)
          break
        case 'moved':
          break
        case 'unknown':
          unsure = result.error
          break
        default:
          return result satisfies never
      }
      const rest = until - systemClock.monotonic()
      if (rest <= 0) return unsure === undefined ? this.#away(result.error) : this.#unsure(unsure)
      await systemClock.sleep(Math.min(rest, backoffMs(pause, tries, Math.random)))
    }
  }

  /** The broker may store it later, so the numbers that it has are not used again. */
  #unsure(error: Error): PublishOutcome {
    this.#producer = undefined
    return unknown(`'${this.#place.topic}': ${this.#ports.describe(error)}`, error)
  }

  #away(error: Error): PublishOutcome {
    const { link, describe } = this.#ports
    const { back } = link
    const outcome =
      error instanceof MersalError
        ? { ...unavailable(error.message), error }
        : unavailable(`'${this.#place.topic}': ${describe(error)}`, error)
    return { ...outcome, ...(back === undefined ? {} : { back }) }
  }

  async #try(batch: readonly Waiting[], again: boolean): Promise<Try> {
    const { link } = this.#ports
    const { topic, partition } = this.#place
    let sent: Sent | undefined
    try {
      if (link.down !== undefined && !again) return { kind: 'away', error: link.down }
      const { connection: cluster } = await link.connection()
      const topics = await cluster.topics([topic])
      if (!topics.has(topic)) return { kind: 'answer', answer: { kind: 'gone' } }
      const connection = await cluster.to(await cluster.leader(topic, partition), 'publish')
      const producer = await this.#identity(cluster)
      const timeless = systemClock.monotonic() < this.#timelessUntil
      sent = { messages: batch.length, timeless }
      await produceV11.api.async(
        connection,
        ALL,
        this.#ports.confirmTimeoutMs,
        batch.map(({ parcel }) => ({
          topic,
          partition,
          ...(parcel.key === undefined ? {} : { key: parcel.key }),
          value: parcel.body as Buffer,
          headers: parcel.headers,
          ...(timeless ? { timestamp: NO_TIME } : {}),
        })),
        {
          producerId: producer.id,
          producerEpoch: producer.epoch,
          sequences: new NumericMap([[`${topic}:${partition}`, producer.next]]),
        },
      )
      producer.next += batch.length
      return { kind: 'stored' }
    } catch (error) {
      return this.#failed(error as Error, sent)
    }
  }

  async #identity(cluster: { readonly ask: KafkaCluster['ask'] }): Promise<Producer> {
    if (this.#producer !== undefined && this.#producer.next < LAST_SEQUENCE) return this.#producer
    const { producerId, producerEpoch } = await cluster.ask(initProducerIdV5.api, null, 0, -1n, -1)
    this.#producer = { id: producerId, epoch: producerEpoch, next: 0 }
    return this.#producer
  }

  #failed(error: Error, sent: Sent | undefined): Try {
    const { describe, link, clockIsOff } = this.#ports
    const { topic } = this.#place
    const failure = failureOf(error, { sent, topic, describe })
    switch (failure.kind) {
      case 'elsewhere':
        link.live?.connection.forget(topic)
        return { kind: 'moved', error }
      case 'duplicate':
        if (this.#producer !== undefined) this.#producer.next += sent?.messages ?? 0
        return { kind: 'stored' }
      case 'untimely':
        this.#timelessUntil = systemClock.monotonic() + TIMELESS_MS
        clockIsOff(topic)
        return { kind: 'moved', error }
      case 'answer':
      case 'away':
      case 'condemned':
      case 'fenced':
      case 'moved':
      case 'unknown':
        return failure
      default:
        return failure satisfies never
    }
  }
}

type KafkaCluster = import('../connection/cluster.ts').Cluster
