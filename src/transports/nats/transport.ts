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
import type { OnDelivery } from '../shared/deliver.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { describer } from '../shared/describe.ts'
import { Consumer, type ConsumerParts } from './consume/consumer.ts'
import { NatsDeadLetters } from './consume/dead-letters.ts'
import { examine, queueOverviews, removeQueue } from './examine.ts'
import { type NatsLink, natsClient } from './connection/client.ts'
import { Link } from '../shared/link.ts'
import { OwnQueues } from '../shared/own-queues.ts'
import { Pace } from '../shared/pace.ts'
import { Readers } from '../shared/receiving/readers.ts'
import { OrderedConsumer, type OrderedParts } from './order/consumer.ts'
import { prepareOrder, refuseUnordered } from './order/layout.ts'
import { namesOf } from './topology/names.ts'
import { type NatsOptions, type NatsSettings, natsSettings } from './options.ts'
import { recover } from './consume/recover.ts'
import { Publisher } from './publish/publisher.ts'
import { Settler } from './consume/settle.ts'
import { States } from './consume/state.ts'
import { checkQueueName } from './topology/check-names.ts'
import { Topology } from './topology/topology.ts'

/** Waits between two tries to make a missing stream again. */
const MAKING_AGAIN = { firstMs: 250, longestMs: 3000 }

/** NATS JetStream as a transport. */
export interface NatsTransport extends Transport {
  /** Dead letters of every queue of its prefix. */
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  topicsOf(queue: string): Promise<readonly string[]>
  removeQueue(queue: string): Promise<QueueRemoval>
}

function secretsOf({ source }: NatsSettings): string[] {
  if (!('address' in source) || source.address.login === undefined) return []
  const { login } = source.address
  return ['token' in login ? login.token : login.pass]
}

class JetStreamTransport implements NatsTransport {
  readonly name = 'nats'
  readonly features: TransportFeatures
  readonly deadLetters: DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  readonly #settings: NatsSettings
  readonly #link: NatsLink
  readonly #topology: Topology
  readonly #own: OwnQueues
  readonly #publisher: Publisher
  readonly #settler: Settler
  readonly #readers: Readers<Consumer | OrderedConsumer>
  #disposing: Promise<void> | undefined

  constructor(settings: NatsSettings) {
    this.#settings = settings
    this.features = {
      ordering: 'none',
      orderPerKey: 'when-asked',
      maxMessageBytes: settings.maxMessageBytes,
    }
    const describe = describer(secretsOf(settings))
    const random = Math.random
    this.#link = new Link({
      broker: 'NATS',
      purpose: 'publishing and receiving',
      client: natsClient(settings, describe),
      pace: new Pace(systemClock, random),
      timeoutMs: settings.connectTimeoutMs,
      describe,
      logger: settings.logger,
      clock: systemClock,
    })
    this.#topology = new Topology(this.#link, settings, describe, namesOf(settings.prefix))
    this.#own = new OwnQueues({
      maker: this.#topology,
      declares: settings.topology === 'declare',
      pause: MAKING_AGAIN,
      logger: settings.logger,
      clock: systemClock,
      random,
    })
    this.#readers = new Readers(this.#own)
    this.#publisher = new Publisher(this.#link, this.#topology, this.#own, settings)
    const states = new States(this.#publisher, this.#topology)
    this.#settler = new Settler(this.#link, this.#publisher, this.#topology, states, settings)
    this.deadLetters = new NatsDeadLetters(this.#topology, this.#publisher)
    this.operations = {
      deadLetters: (queue) => (queue === undefined ? this.deadLetters : this.deadLettersOf(queue)),
      queues: ({ names }) => queueOverviews(this.#topology, [...names, ...this.#own.names()]),
      examine: ({ queues }) => examine(this.#link, this.#topology, settings, queues),
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
    const isOrdered = consumption.orderPerKey === true
    if (isOrdered) this.#topology.ordered.add(queue)
    const reader = isOrdered
      ? new OrderedConsumer(this.#orderedParts(queue), consumption, onDelivery)
      : new Consumer(this.#parts(queue), consumption, onDelivery)
    return await this.#readers.begin(reader)
  }

  #parts(queue: string): ConsumerParts {
    return {
      link: this.#link,
      settler: this.#settler,
      settings: this.#settings,
      stream: this.#topology.names.streamOf(queue),
      prepare: async () => {
        await this.#own.prepare(queue)
        await refuseUnordered(this.#topology, queue)
      },
      recover: (stop: AbortSignal) => recover(this.#topology, queue, this.#settings.logger, stop),
    }
  }

  #orderedParts(queue: string): OrderedParts {
    return {
      link: this.#link,
      settler: this.#settler,
      publisher: this.#publisher,
      topology: this.#topology,
      settings: this.#settings,
      prepare: async () => {
        await this.#own.prepare(queue)
        await prepareOrder(this.#topology, this.#settings, queue)
      },
    }
  }

  deadLettersOf(queue: string): DeadLetterBox {
    checkQueueName(queue)
    return new NatsDeadLetters(this.#topology, this.#publisher, queue)
  }

  async removeQueue(queue: string): Promise<QueueRemoval> {
    checkQueueName(queue)
    return removeQueue(this.#topology, queue)
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
 * A transport over NATS 2.9 or later with JetStream, with `@nats-io/transport-node` and
 * `@nats-io/jetstream`. Connects at the first use. Throws `MERSAL_INVALID_OPTIONS` on anything else
 * than documented; no error shows the URL.
 */
export function nats(options: NatsOptions): NatsTransport {
  return new JetStreamTransport(natsSettings(options))
}
