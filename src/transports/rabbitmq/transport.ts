import { checkNumber, invalidOption } from '../../core/options.ts'
import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { TransportOperations } from '../../core/operations.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type {
  Consumption,
  PublishOptions,
  PublishOutcome,
  QueueRemoval,
  Transport,
  TransportFeatures,
} from '../../core/transport.ts'
import type { Describe } from '../shared/describe.ts'
import { describer } from './connection/address.ts'
import { Bundler } from './bundles/bundler.ts'
import { Consumer, type ConsumerParts } from './consume/consumer.ts'
import { Mover } from './consume/mover.ts'
import { orderedParts, refuseUnordered, withParts } from './order/entrance.ts'
import { Group, LONGEST_HELD_MS } from './order/group.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { RabbitDeadLetters } from './consume/dead-letters.ts'
import { examine } from './examine.ts'
import { amqpClient, type RabbitLink } from './connection/client.ts'
import { queueOverviews } from './topology/queue-overviews.ts'
import { type RabbitOptions, rabbitSettings, type RabbitSettings } from './options.ts'
import { Publisher } from './publish/publisher.ts'
import { Link } from '../shared/link.ts'
import type { OwnQueues } from '../shared/own-queues.ts'
import { Pace } from '../shared/pace.ts'
import { Readers } from '../shared/receiving/readers.ts'
import { stopOn } from '../shared/stop.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { removeQueue } from './topology/remove-queue.ts'
import { Settler } from './consume/settle.ts'
import { checkQueueName, ownQueues, Topology } from './topology/topology.ts'

/** RabbitMQ as a transport. */
export interface RabbitTransport extends Transport {
  /** Dead letters of every queue that this transport has subscribed or consumed. */
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
}

function secretsOf({ source }: RabbitSettings): string[] {
  return 'address' in source && source.address.password !== undefined
    ? [source.address.password]
    : []
}

/**
 * Publishing and receiving have a connection each: under an alarm RabbitMQ stops reading from the
 * connections that publish, and acknowledgements must still get through.
 */
class RabbitmqTransport implements RabbitTransport {
  readonly name = 'rabbitmq'
  readonly features: TransportFeatures
  readonly deadLetters: DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  readonly #settings: RabbitSettings
  readonly #describe: Describe
  readonly #receiving: RabbitLink
  readonly #sending: RabbitLink
  readonly #topology: Topology
  readonly #publisher: Publisher
  readonly #bundler: Bundler | undefined
  readonly #settler: Settler
  readonly #moves: Publisher
  readonly #readers: Readers<Consumer | Group>
  readonly #own: OwnQueues
  #disposing: Promise<void> | undefined

  constructor(settings: RabbitSettings) {
    this.#settings = settings
    this.#describe = describer(
      secretsOf(settings),
      'address' in settings.source ? settings.source.address.vhost : undefined,
    )
    const shared = {
      broker: 'RabbitMQ',
      client: amqpClient(settings, this.#describe),
      pace: new Pace(systemClock, Math.random),
      timeoutMs: settings.connectTimeoutMs,
      describe: this.#describe,
      logger: settings.logger,
      clock: systemClock,
    }
    this.#receiving = new Link({ ...shared, purpose: 'receiving' })
    this.#sending = new Link({ ...shared, purpose: 'publishing' })
    this.#topology = new Topology(this.#receiving, settings, this.#describe)
    this.#own = ownQueues(this.#topology, settings, (queue) => this.#letGo(queue))
    this.#readers = new Readers(this.#own)
    this.#publisher = new Publisher(this.#sending, this.#topology, settings, this.#describe, {
      own: this.#own,
    })
    const bundler =
      settings.bundles === undefined ? undefined : new Bundler(this.#publisher, settings.bundles)
    this.#bundler = bundler
    this.features = {
      ordering: 'none',
      orderPerKey: 'when-asked',
      namedQueuesOnly: true,
      patient: true,
      maxMessageBytes: settings.maxMessageBytes,
      ...(bundler === undefined ? {} : { together: (messages) => bundler.together(messages) }),
    }
    // A channel of their own for retries and dead letters: a retry queue that answers nothing must
    // not hold up what is published.
    this.#moves = new Publisher(this.#sending, this.#topology, settings, this.#describe, {
      leavesSilentChannels: true,
    })
    this.#settler = new Settler(this.#moves, this.#topology, settings)
    this.deadLetters = new RabbitDeadLetters(this.#receiving, this.#publisher, () =>
      this.#own.names(),
    )
    this.operations = this.#operations()
  }

  #operations(): RabbitTransport['operations'] {
    const ports = { link: this.#receiving, settings: this.#settings, describe: this.#describe }
    return {
      deadLetters: (queue) => (queue === undefined ? this.deadLetters : this.deadLettersOf(queue)),
      queues: async ({ names }) => {
        const all = [...new Set([...names, ...this.#own.names()])]
        return withParts(ports, await queueOverviews(this.#receiving, all, this.#describe))
      },
      examine: ({ queues }) => examine(ports, queues),
    }
  }

  publish(
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): readonly Promise<PublishOutcome>[] {
    return this.#bundler === undefined
      ? this.#publisher.publish(messages, options)
      : this.#bundler.publish(messages, stopOn(options?.signal, options?.withdraw))
  }

  async subscribe(
    queue: string,
    topics: readonly string[],
    { remove = false }: { readonly remove?: boolean } = {},
  ): Promise<void> {
    await this.#own.subscribe(queue, topics, remove)
  }

  async consume(consumption: Consumption, onDelivery: OnDelivery): Promise<AsyncDisposable> {
    checkQueueName(consumption.queue)
    checkNumber('concurrency', consumption.concurrency, { default: 10, min: 1, max: 65_535 })
    this.#readers.checkOpen()
    const consumer = this.#consumerOf(consumption, onDelivery)
    return await this.#readers.begin(consumer, () => this.#begin(consumer))
  }

  #parts(queue: string): ConsumerParts {
    return {
      link: this.#receiving,
      settler: this.#settler,
      settings: this.#settings,
      describe: this.#describe,
      prepare: () => this.#own.prepare(queue),
    }
  }

  #consumerOf(consumption: Consumption, onDelivery: OnDelivery): Consumer | Group {
    return consumption.orderPerKey === true
      ? this.#group(consumption, onDelivery)
      : new Consumer(this.#parts(consumption.queue), consumption, onDelivery)
  }

  async #begin(consumer: Consumer | Group): Promise<void> {
    const { queue } = consumer
    if (consumer instanceof Consumer) {
      await refuseUnordered(this.#parts(queue), queue)
      // One that begins at this moment shows only here.
      if (this.#readers.of(queue).some((other) => other instanceof Group))
        throw invalidOption(
          'receive.orderPerKey',
          `this transport reads queue '${queue}' in order: set orderPerKey here, too, in another transport`,
        )
    }
    await consumer.start()
  }

  #group(consumption: Consumption, onDelivery: OnDelivery): Group {
    const { queue } = consumption
    if (this.#readers.of(queue).length > 0)
      throw invalidOption(
        'receive.orderPerKey',
        `this transport reads queue '${queue}' already; in order it can be read once by each transport`,
      )
    const nobody = { confirmed: () => {}, silent: () => {}, missing: () => {} }
    const topology = this.#topology
    const mover = new Mover(this.#moves, topology, this.#settings, nobody)
    const longestHeldMs = LONGEST_HELD_MS
    const parts = { ...this.#parts(queue), topology, mover, publisher: this.#moves, longestHeldMs }
    return new Group(parts, consumption, onDelivery)
  }

  deadLettersOf(queue: string): DeadLetterBox {
    checkQueueName(queue)
    return new RabbitDeadLetters(this.#receiving, this.#publisher, () => [queue])
  }

  async removeQueue(queue: string): Promise<QueueRemoval> {
    checkQueueName(queue)
    const ports = { link: this.#receiving, settings: this.#settings, describe: this.#describe }
    const { names } = await orderedParts(ports, queue)
    return await removeQueue(ports, queue, names)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#disposing ??= this.#dispose())
  }

  async #letGo(queue: string): Promise<void> {
    await Promise.all(this.#readers.of(queue).map((consumer) => consumer.letGo()))
  }

  async #dispose(): Promise<void> {
    this.#own.close()
    this.#readers.close()
    await Promise.all([
      this.#receiving[Symbol.asyncDispose](),
      this.#sending[Symbol.asyncDispose](),
    ])
  }
}

/**
 * A transport over RabbitMQ 3.10 or later, with amqplib. Connects at the first use. Throws
 * `MERSAL_INVALID_OPTIONS` on anything else than documented; no error shows the URL.
 */
export function rabbitmq(options: RabbitOptions): RabbitTransport {
  return new RabbitmqTransport(rabbitSettings(options))
}
