import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
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
import { seldom } from '../../lib/async/seldom.ts'
import { prefixOf } from '../../lib/redis-script.ts'
import { consumers } from '../shared/consumers.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { describer } from '../shared/describe.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { Link } from '../shared/link.ts'
import { OwnQueues, type QueueMaker } from '../shared/own-queues.ts'
import { Pace } from '../shared/pace.ts'
import { checkNames } from '../shared/settings.ts'
import { ask, command, type RedisLink, redisClient, run, type Server } from './connection.ts'
import { redisDeadLetters } from './dead-letters.ts'
import { examine, queueOverviews } from './examine.ts'
import { type RedisOptions, type RedisSettings, redisSettings } from './options.ts'
import { publishAll } from './publish.ts'
import { PAUSE, QueueMessages, type TakenMessage } from './queue.ts'
import { scripts } from './scripts.ts'
import { worriesAbout } from './server.ts'

/** Redis Streams as a transport. */
export interface RedisTransport extends Transport {
  /** Dead letters of every queue of its prefix. */
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  topicsOf(queue: string): Promise<readonly string[]>
  removeQueue(queue: string): Promise<QueueRemoval>
}

function secretsOf({ source }: RedisSettings): string[] {
  if (!('address' in source)) return []
  const { address, sentinels } = source
  return [address.password, sentinels?.password ?? ''].filter((secret) => secret !== '')
}

/** Two connections: what is published keeps no consumer waiting. */
function linksOf(settings: RedisSettings): { publishing: RedisLink; receiving: RedisLink } {
  const { logger } = settings
  const describe = describer(secretsOf(settings))
  const client = redisClient(settings, describe)
  const isNews = seldom(systemClock, 3_600_000)
  const warning = {
    ...client,
    async open(): Promise<Server> {
      const server = await client.open()
      for (const worry of worriesAbout(server.facts, settings))
        if (isNews(worry)) logger.warn({}, `Redis: ${worry}`)
      return server
    },
  }
  const pace = new Pace(systemClock, Math.random)
  const link = (purpose: string): RedisLink =>
    new Link({
      broker: 'Redis',
      purpose,
      client: warning,
      pace,
      timeoutMs: settings.connectTimeoutMs,
      describe,
      logger,
      clock: systemClock,
    })
  return { publishing: link('publishing'), receiving: link('receiving') }
}

function makerFor(link: RedisLink, prefix: string): QueueMaker {
  const declare = async (queue: string, change: string, topics: readonly string[]) => {
    checkNames([queue, ...topics])
    await ask(link, (server) => run(server, scripts.declare, prefix, [queue, change, ...topics]))
  }
  return {
    queue: (name) => declare(name, 'add', []),
    bind: (queue, topics, remove) => declare(queue, remove ? 'remove' : 'add', topics),
  }
}

class StreamsTransport implements RedisTransport {
  readonly name = 'redis'
  readonly features: TransportFeatures
  readonly deadLetters: DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'schema'>>
  readonly #settings: RedisSettings
  readonly #prefix: string
  readonly #publishing: RedisLink
  readonly #receiving: RedisLink
  readonly #own: OwnQueues
  readonly #consumers = consumers()
  readonly #safety = { short: false }
  #closed: Promise<unknown> | undefined

  constructor(settings: RedisSettings) {
    const { publishing, receiving } = linksOf(settings)
    const prefix = prefixOf(settings.prefix)
    this.#settings = settings
    this.#prefix = prefix
    this.#publishing = publishing
    this.#receiving = receiving
    this.#own = new OwnQueues({
      maker: makerFor(receiving, prefix),
      declares: true,
      pause: PAUSE,
      logger: settings.logger,
      clock: systemClock,
      random: Math.random,
    })
    const { maxMessageBytes } = settings
    this.features = { ordering: 'per-key', orderPerKey: 'when-asked', maxMessageBytes }
    this.deadLetters = redisDeadLetters(receiving, prefix)
    this.operations = {
      deadLetters: (queue) => (queue === undefined ? this.deadLetters : this.deadLettersOf(queue)),
      queues: () => queueOverviews(receiving, prefix),
      examine: ({ queues }) => examine(receiving, settings, prefix, queues),
    }
  }

  publish(
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): readonly Promise<PublishOutcome>[] {
    const parts = {
      link: this.#publishing,
      own: this.#own,
      settings: this.#settings,
      prefix: this.#prefix,
      safety: this.#safety,
    }
    return publishAll(parts, messages, options)
  }

  subscribe(
    queue: string,
    topics: readonly string[],
    { remove = false }: { readonly remove?: boolean } = {},
  ): Promise<void> {
    return this.#own.subscribe(queue, topics, remove)
  }

  async topicsOf(queue: string): Promise<readonly string[]> {
    const args = ['SMEMBERS', `${this.#prefix}topics:${queue}`]
    const topics = await ask(this.#receiving, ({ client }) => command(client, args))
    return [...(topics as Iterable<unknown>)].map(String)
  }

  async removeQueue(queue: string): Promise<QueueRemoval> {
    checkNames([queue])
    const why = await ask(this.#receiving, (server) =>
      run(server, scripts.remove, this.#prefix, [queue]),
    )
    return String(why) === '' ? { kind: 'removed' } : { kind: 'kept', why: String(why) }
  }

  deadLettersOf(queue: string): DeadLetterBox {
    checkNames([queue])
    return redisDeadLetters(this.#receiving, this.#prefix, queue)
  }

  async consume(consumption: Consumption, onDelivery: OnDelivery): Promise<AsyncDisposable> {
    const { queue } = consumption
    checkNumber('concurrency', consumption.concurrency, { default: 1, min: 1, max: 100_000 })
    if (this.#closed !== undefined) throw closedError()
    await this.#own.prepare(queue)
    const consumer = await this.#consumers.add(this.#consumerOf(consumption, onDelivery))
    this.#own.read(queue)
    const stop = async (): Promise<void> => {
      this.#own.unread(queue)
      await consumer[Symbol.asyncDispose]()
    }
    let stopped: Promise<void> | undefined
    return { [Symbol.asyncDispose]: () => (stopped ??= stop()) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#closed ??= this.#close())
  }

  #consumerOf(consumption: Consumption, onDelivery: OnDelivery): HeldQueue<TakenMessage> {
    const { queue, orderPerKey = false } = consumption
    const parts = {
      ...this.#settings,
      link: this.#receiving,
      prefix: this.#prefix,
      queue,
      inOrder: orderPerKey,
      prepare: () => this.#own.prepare(queue),
    }
    const options = {
      ...this.#settings,
      name: 'redis',
      consumption,
      onDelivery,
      pause: PAUSE,
      clock: systemClock,
      random: Math.random,
    }
    return new HeldQueue(options, (state) => new QueueMessages(parts, state))
  }

  async #close(): Promise<void> {
    this.#own.close()
    await this.#consumers.breakOff(closedError())
    const links = [this.#publishing, this.#receiving]
    await Promise.all(links.map((link) => link[Symbol.asyncDispose]()))
  }
}

const closedError = (): MersalError =>
  new MersalError('MERSAL_APP_STOPPED', 'the transport has been closed')

/**
 * A transport over Redis 7.0 or later, with `@redis/client`. Connects at the first use. Throws
 * `MERSAL_INVALID_OPTIONS` on anything else than documented; no error shows the URL.
 */
export function redis(options: RedisOptions): RedisTransport {
  return new StreamsTransport(redisSettings(options))
}
