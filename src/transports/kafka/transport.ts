import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { TransportOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import type {
  Consumption,
  PublishOptions,
  PublishOutcome,
  QueueRemoval,
  Transport,
  TransportFeatures,
} from '../../core/transport.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { checkQueueName } from './topology/check-names.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { describer } from '../shared/describe.ts'
import { Link } from '../shared/link.ts'
import { OwnQueues } from '../shared/own-queues.ts'
import { Pace } from '../shared/pace.ts'
import { Readers } from '../shared/receiving/readers.ts'
import { kafkaClient } from './connection/client.ts'
import type { KafkaLink } from './connection/cluster.ts'
import { Consumer } from './consume/consumer.ts'
import { KafkaDeadLetters } from './consume/dead-letters.ts'
import { Settler } from './consume/settle.ts'
import { examine, queueOverviews, removeQueue } from './examine.ts'
import { type KafkaOptions, type KafkaSettings, kafkaSettings } from './options.ts'
import { Producer } from './publish/producer.ts'
import { Publisher } from './publish/publisher.ts'
import { namesOf } from './topology/names.ts'
import { Topology } from './topology/topology.ts'

/** Waits between two tries to make a missing topic again. */
const MAKING_AGAIN = { firstMs: 250, longestMs: 3000 }

/** Apache Kafka as a transport. */
export interface KafkaTransport extends Transport {
  /** Dead letters of every queue of its prefix. */
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  topicsOf(queue: string): Promise<readonly string[]>
  removeQueue(queue: string): Promise<QueueRemoval>
}

function secretsOf({ sasl, tls }: KafkaSettings): string[] {
  const secrets = tls?.key === undefined ? [] : [tls.key]
  if (sasl === undefined) return secrets
  if (sasl.mechanism !== 'OAUTHBEARER') return [...secrets, sasl.password]
  return typeof sasl.token === 'string' ? [...secrets, sasl.token] : secrets
}

class TopicsTransport implements KafkaTransport {
  readonly name = 'kafka'
  readonly features: TransportFeatures
  readonly deadLetters: KafkaDeadLetters
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  readonly #settings: KafkaSettings
  readonly #link: KafkaLink
  readonly #topology: Topology
  readonly #own: OwnQueues
  readonly #producer: Producer
  readonly #publisher: Publisher
  readonly #settler: Settler
  readonly #readers: Readers<Consumer>
  #disposing: Promise<void> | undefined

  constructor(settings: KafkaSettings) {
    this.#settings = settings
    this.features = { ordering: 'per-key', maxMessageBytes: settings.maxMessageBytes }
    const describe = describer(secretsOf(settings))
    const random = Math.random
    const { logger } = settings
    this.#link = new Link({
      broker: 'Kafka',
      purpose: 'publishing and receiving',
      client: kafkaClient(settings, describe),
      pace: new Pace(systemClock, random),
      timeoutMs: settings.connectTimeoutMs,
      describe,
      logger,
      clock: systemClock,
    })
    const names = namesOf(settings.prefix)
    this.#producer = new Producer(this.#link, settings, describe)
    this.#topology = new Topology(this.#link, settings, describe, names, (parcel) =>
      this.#producer.store(parcel),
    )
    this.#own = new OwnQueues({
      maker: this.#topology,
      declares: settings.topology === 'declare',
      pause: MAKING_AGAIN,
      logger,
      clock: systemClock,
      random,
    })
    this.#readers = new Readers(this.#own)
    this.#publisher = new Publisher(this.#link, this.#producer, this.#topology, this.#own, settings)
    this.#settler = new Settler({ producer: this.#producer, names, settings })
    this.deadLetters = new KafkaDeadLetters(this.#topology, this.#producer)
    this.operations = {
      deadLetters: (queue) => (queue === undefined ? this.deadLetters : this.deadLettersOf(queue)),
      queues: () => queueOverviews(this.#topology, this.deadLetters),
      examine: ({ queues }) => examine(this.#topology, settings, queues),
    }
  }

  publish(
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): readonly Promise<PublishOutcome>[] {
    return this.#publisher.publish(messages, options)
  }

  async subscribe(
    queue: string,
    topics: readonly string[],
    { remove = false }: { readonly remove?: boolean } = {},
  ): Promise<void> {
    await this.#own.subscribe(queue, topics, remove)
  }

  async topicsOf(queue: string): Promise<readonly string[]> {
    checkQueueName(queue)
    return this.#topology.topicsOf(queue)
  }

  async consume(consumption: Consumption, onDelivery: OnDelivery): Promise<AsyncDisposable> {
    const { queue } = consumption
    checkQueueName(queue)
    checkNumber('concurrency', consumption.concurrency, { default: 10, min: 1, max: 65_535 })
    this.#readers.checkOpen()
    const parts = {
      topology: this.#topology,
      settler: this.#settler,
      settings: this.#settings,
      prepare: () => this.#own.prepare(queue),
    }
    return await this.#readers.begin(new Consumer(parts, consumption, onDelivery))
  }

  deadLettersOf(queue: string): DeadLetterBox {
    checkQueueName(queue)
    return new KafkaDeadLetters(this.#topology, this.#producer, queue)
  }

  async removeQueue(queue: string): Promise<QueueRemoval> {
    checkQueueName(queue)
    return removeQueue(this.#topology, this.deadLetters, queue)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#disposing ??= this.#dispose())
  }

  async #dispose(): Promise<void> {
    this.#own.close()
    this.#readers.close()
    await this.#link[Symbol.asyncDispose]()
  }
}

/**
 * A transport over Apache Kafka 4.0 or later, with `@platformatic/kafka`. Connects at the first
 * use. Throws `MERSAL_INVALID_OPTIONS` on anything else than documented; no error shows a secret.
 */
export function kafka(options: KafkaOptions): KafkaTransport {
  return new TopicsTransport(kafkaSettings(options))
}
