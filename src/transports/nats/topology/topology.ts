import {
  type ConsumerInfo,
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream'
import { millis, nanos } from '@nats-io/transport-node'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Describe } from '../../shared/describe.ts'
import { apiCodeOf, apiCodes, mistakeOf } from '../connection/faults.ts'
import type { NatsLink, Server } from '../connection/client.ts'
import { checkQueueName, checkTopic } from './check-names.ts'
import { addConsumer, removeConsumer } from './consumers.ts'
import { compareStream, consumerConfig, consumerMistake } from './compare.ts'
import { CONSUMER, type Names, nameOf } from './names.ts'
import { invalid, type NatsSettings } from '../options.ts'

type Config = Pick<StreamConfig, 'name' | 'subjects' | 'retention'> & Partial<StreamConfig>

/** Of what is only kept between two deliveries of a message; it outlives the longest wait. */
const STATE_AGE_MS = 90 * 86_400_000

/** What JetStream holds: one stream for each queue, and three for all of them. */
export class Topology {
  readonly #link: NatsLink
  readonly #settings: NatsSettings
  readonly #describe: Describe
  readonly names: Names
  /** Queues that this process reads in order: their consumers belong to somebody. */
  readonly ordered: Set<string> = new Set()

  constructor(link: NatsLink, settings: NatsSettings, describe: Describe, names: Names) {
    this.#link = link
    this.#settings = settings
    this.#describe = describe
    this.names = names
  }

  /** Whether the message that once got this place in the stream is still there. */
  async holds(stream: string, sequence: number): Promise<boolean> {
    return this.ask(`looking for a message in '${stream}'`, async ({ manager }) => {
      return (await manager.streams.getMessage(stream, { seq: sequence })) !== null
    })
  }

  /** Runs the task; what it throws becomes `MERSAL_UNAVAILABLE`, or the mistake behind it. */
  async ask<Result>(doing: string, task: (server: Server) => Promise<Result>): Promise<Result> {
    const live = await this.#link.connection()
    try {
      return await task(live.connection)
    } catch (error) {
      const mistake = mistakeOf(error, this.#describe)
      // A server that is just starting, or a cluster without a leader, answers so for a while.
      if (mistake !== undefined && !live.lost.aborted) throw mistake
      throw new MersalError(
        'MERSAL_UNAVAILABLE',
        `${doing} failed: ${this.#describe(live.lost.reason ?? error)}`,
      )
    }
  }

  /** The stream as it is, or undefined if there is none. */
  info(stream: string, subjects?: string): Promise<StreamInfo | undefined> {
    return this.ask(`looking at the stream '${stream}'`, async ({ manager }) => {
      try {
        const filter = subjects === undefined ? {} : { subjects_filter: subjects }
        return await manager.streams.info(stream, filter)
      } catch (error) {
        if (apiCodeOf(error) === apiCodes.streamNotFound) return undefined
        throw error
      }
    })
  }

  /** Makes what the queue needs, or looks whether it is there and as it must be. */
  async queue(queue: string): Promise<void> {
    checkQueueName(queue)
    const { names } = this
    await Promise.all([
      this.stream(this.#queueConfig(queue)),
      this.stream(this.#topicsConfig()),
      this.stream(this.shared(names.dead, `${names.prefix}.dead.*`, {})),
      this.stream(
        this.shared(names.state, `${names.prefix}.state.*.*`, {
          max_msgs_per_subject: 1,
          max_age: nanos(STATE_AGE_MS),
        }),
      ),
    ])
    if (!this.ordered.has(queue)) await this.#consumer(queue)
  }

  /** Notes, durably, that events of these topics go into the queue; or no longer. */
  async bind(queue: string, topics: readonly string[], remove: boolean): Promise<void> {
    topics.forEach(checkTopic)
    const { names } = this
    // It is called again and again, and mostly finds nothing to change.
    const there = await this.topicsOf(queue)
    const changed = topics.filter((topic) => there.includes(topic) === remove)
    if (changed.length === 0) return
    if (!remove) await this.stream(this.#topicsConfig())
    await this.ask('subscribing', async ({ manager }) => {
      const timeout = this.#settings.connectTimeoutMs
      for (const topic of changed) {
        const subject = names.subscription(topic, queue)
        if (remove) await manager.streams.purge(names.topics, { filter: subject })
        else await manager.jetstream().publish(subject, '', { timeout })
      }
    })
  }

  /** Whether the stream of the queue takes new messages. */
  async accept(queue: string, accepts: boolean): Promise<void> {
    const { names } = this
    // A stream needs a subject; nobody publishes to this one.
    const subject = accepts ? names.subjectOf(queue) : names.closedOf(queue)
    await this.ask('opening or closing a queue', ({ manager }) =>
      manager.streams.update(names.streamOf(queue), { subjects: [subject] }),
    )
  }

  async queuesOf(topic: string): Promise<readonly string[]> {
    return this.#subscriptions(this.names.ofTopic(topic), 3)
  }

  async topicsOf(queue: string): Promise<readonly string[]> {
    return this.#subscriptions(this.names.ofQueue(queue), 2)
  }

  /**
   * Names what the stream holds and its consumer has left behind; undefined if there is nothing.
   * JetStream writes the two apart. After a crash the stream can still hold what was acknowledged,
   * or give the places of such messages to new ones, and the consumer hands out neither.
   */
  async leftBehind(queue: string): Promise<string | undefined> {
    const stream = this.names.streamOf(queue)
    const consumer = await this.consumerInfo(stream)
    // In this order: what is removed meanwhile only moves the first place on.
    const state = (await this.info(stream))?.state
    if (consumer === undefined || state === undefined) return undefined
    await this.#suits(queue, consumer)
    if (state.last_seq < consumer.delivered.stream_seq) return `end ${state.last_seq}`
    const isBehind = state.messages > 0 && state.first_seq <= consumer.ack_floor.stream_seq
    return isBehind ? `place ${state.first_seq}` : undefined
  }

  /** Everything in the stream is handed out, whatever was acknowledged before. */
  async consumerAgain(queue: string): Promise<void> {
    await removeConsumer(this, this.names.streamOf(queue), CONSUMER)
    await this.#consumer(queue)
  }

  consumerInfo(stream: string, name: string = CONSUMER): Promise<ConsumerInfo | undefined> {
    return this.ask(`looking at the consumer of '${stream}'`, async ({ manager }) => {
      try {
        return await manager.consumers.info(stream, name)
      } catch (error) {
        const code = apiCodeOf(error)
        if (code === apiCodes.consumerNotFound || code === apiCodes.streamNotFound) return undefined
        throw error
      }
    })
  }

  /** Queues of this prefix, at most the first 256 by name. */
  async queues(): Promise<readonly string[]> {
    const found = await this.ask('listing the streams', ({ manager }) =>
      manager.streams.names(this.names.subjectOf('*')).next(),
    )
    return found.map((name) => this.names.queueOf(name)).filter((name) => name !== undefined)
  }

  async #subscriptions(filter: string, token: 2 | 3): Promise<readonly string[]> {
    const info = await this.info(this.names.topics, filter)
    return Object.keys(info?.state.subjects ?? {}).map((subject) =>
      nameOf(subject.split('.')[token] ?? ''),
    )
  }

  #topicsConfig(): Config {
    const { topics, prefix } = this.names
    return this.shared(topics, `${prefix}.topic.*.*`, { max_msgs_per_subject: 1 })
  }

  #queueConfig(queue: string): Config {
    const { maxQueueBytes, duplicateWindowMs } = this.#settings
    return {
      ...this.shared(this.names.streamOf(queue), this.names.subjectOf(queue), {
        max_bytes: maxQueueBytes,
        duplicate_window: nanos(duplicateWindowMs),
      }),
      retention: RetentionPolicy.Workqueue,
    }
  }

  /** As all streams of ours are. */
  shared(name: string, subjects: string | string[], more: Partial<StreamConfig>): Config {
    return {
      name,
      subjects: [subjects].flat(),
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      // A full stream refuses what is new; it never drops what is old.
      discard: DiscardPolicy.New,
      num_replicas: this.#settings.replicas,
      max_age: 0,
      max_msgs: -1,
      max_bytes: -1,
      ...more,
      // With one message for each subject, the newest one takes the place of the one before.
      ...(more.max_msgs_per_subject === undefined ? {} : { discard: DiscardPolicy.Old }),
    }
  }

  /** Makes the stream, or throws if the one that is there differs. */
  async stream(wanted: Config): Promise<void> {
    const found = await this.info(wanted.name)
    if (found !== undefined) return compareStream(wanted, found.config)
    if (this.#settings.topology === 'check')
      throw invalid('topology', `the stream '${wanted.name}' is missing: make it, or use 'declare'`)
    const made = await this.ask(`making the stream '${wanted.name}'`, async ({ manager }) => {
      try {
        return (await manager.streams.add(wanted)).config
      } catch (error) {
        // Another process has made it meanwhile, with other settings.
        if (apiCodeOf(error) === apiCodes.streamNameInUse) return undefined
        throw error
      }
    })
    const config = made ?? (await this.info(wanted.name))?.config
    if (config !== undefined) compareStream(wanted, config)
  }

  /** Made if it is missing; throws if the one that is there would strand messages. */
  async #consumer(queue: string): Promise<void> {
    const stream = this.names.streamOf(queue)
    const found = await this.consumerInfo(stream)
    if (found !== undefined) return this.#suits(queue, found)
    if (this.#settings.topology === 'check') {
      // Who reads in order makes a consumer of his own.
      if ((await this.info(this.names.orderOf(queue))) !== undefined) return
      throw invalid('topology', `the consumer '${CONSUMER}' of '${stream}' is missing`)
    }
    const made = await addConsumer(this, stream, consumerConfig(this.#settings))
    if (made !== undefined) await this.#suits(queue, made)
  }

  /**
   * Each process renews what it has in hand by its own `ackWaitMs`, so the longest one is right for
   * all. A shorter one would hand out a message that a handler still has.
   */
  async #suits(queue: string, { config }: ConsumerInfo): Promise<void> {
    const stream = this.names.streamOf(queue)
    const mistake = consumerMistake(stream, this.names.subjectOf(queue), config)
    if (mistake !== undefined) throw mistake
    const wanted = nanos(this.#settings.ackWaitMs)
    if ((config.ack_wait ?? 0) >= wanted) return
    if (this.#settings.topology === 'check')
      throw invalid(
        'ackWaitMs',
        `the consumer '${CONSUMER}' of '${stream}' has an ack_wait of ${millis(config.ack_wait ?? 0)} ms: raise it, or lower the option`,
      )
    await this.ask(`raising the ack_wait of '${stream}'`, ({ manager }) =>
      manager.consumers.update(stream, CONSUMER, { ack_wait: wanted }),
    )
  }
}
