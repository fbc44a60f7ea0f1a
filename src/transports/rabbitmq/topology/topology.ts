import type { Channel } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { byteLength } from '../../../lib/text.ts'
import type { Describe } from '../../shared/describe.ts'
import { replyCode } from '../connection/address.ts'
import { type RabbitLink, withChannel } from '../connection/client.ts'
import type { RabbitSettings } from '../options.ts'
import { OwnQueues } from '../../shared/own-queues.ts'

/** AMQP 0-9-1 writes names of queues and routing keys as a `shortstr`: at most 255 bytes. */
export const LONGEST_NAME_BYTES = 255
const LONGEST_SUFFIX = '.retry.86400000'

export function deadQueueOf(queue: string): string {
  return `${queue}.dead`
}

export function retryQueueOf(queue: string, delayMs: number): string {
  return `${queue}.retry.${delayMs}`
}

type Arguments = Record<string, string | number | boolean>

/**
 * What the broker gives up itself (a delivery limit, a foreign consumer that rejects) goes on to
 * this queue, with a confirm.
 */
function passesOnTo(target: string, type: RabbitSettings['queueType']): Arguments {
  const route = {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': target,
    'x-overflow': 'reject-publish',
  }
  return type === 'quorum'
    ? { ...route, 'x-queue-type': type, 'x-dead-letter-strategy': 'at-least-once' }
    : { ...route, 'x-queue-type': type }
}

export function appQueueArguments(queue: string, settings: RabbitSettings): Arguments {
  return {
    ...settings.queueArguments,
    ...passesOnTo(deadQueueOf(queue), settings.queueType),
    ...(settings.singleActiveConsumer ? { 'x-single-active-consumer': true } : {}),
  }
}

/**
 * Looking at the dead letters returns them each time, so the default delivery limit of RabbitMQ 4
 * would remove them.
 */
export function deadQueueArguments(settings: RabbitSettings): Arguments {
  const type = { 'x-queue-type': settings.queueType }
  return settings.queueType === 'quorum' ? { ...type, 'x-delivery-limit': 1_000_000_000 } : type
}

export function retryQueueArguments(
  queue: string,
  delayMs: number,
  settings: RabbitSettings,
): Arguments {
  return { ...passesOnTo(queue, settings.queueType), 'x-message-ttl': delayMs }
}

/** Throws unless this can name a queue of ours together with its dead and retry queues. */
export function checkQueueName(queue: string): void {
  const problem = nameProblem(queue + LONGEST_SUFFIX)
  if (queue === '' || problem !== undefined) {
    throw new MersalError('MERSAL_INVALID_OPTIONS', `queue: ${problem ?? 'the name is empty'}`, {
      details: { field: 'queue' },
    })
  }
}

/** Whether this can name such a queue. */
export function canBeOurs(queue: string): boolean {
  return queue !== '' && nameProblem(queue + LONGEST_SUFFIX) === undefined
}

export function nameProblem(name: string): string | undefined {
  const bytes = byteLength(name)
  if (bytes > LONGEST_NAME_BYTES)
    return `the routing key has ${bytes} bytes, and AMQP allows ${LONGEST_NAME_BYTES}`
  if (name.startsWith('amq.')) return "names that begin with 'amq.' belong to the broker"
  return undefined
}

/** Makes the queues, exchanges and bindings, or only looks whether they exist. */
export class Topology {
  readonly #link: RabbitLink
  readonly #settings: RabbitSettings
  readonly #describe: Describe

  constructor(link: RabbitLink, settings: RabbitSettings, describe: Describe) {
    this.#link = link
    this.#settings = settings
    this.#describe = describe
  }

  /** The queue with its dead-letter queue. */
  async queue(queue: string): Promise<void> {
    checkQueueName(queue)
    const dead = await this.#declare(deadQueueOf(queue), deadQueueArguments(this.#settings))
    const made = await this.#declare(queue, appQueueArguments(queue, this.#settings))
    if (dead || made) await systemClock.sleep(this.#settings.newQueuePauseMs)
  }

  async retryQueue(queue: string, delayMs: number): Promise<void> {
    const made = await this.#declare(
      retryQueueOf(queue, delayMs),
      retryQueueArguments(queue, delayMs, this.#settings),
    )
    if (made) await systemClock.sleep(this.#settings.newQueuePauseMs)
  }

  async bind(queue: string, topics: readonly string[], remove: boolean): Promise<void> {
    for (const topic of topics) {
      const problem = /[*#]/.test(topic)
        ? 'a topic is the name of one event, without * and #'
        : nameProblem(topic)
      if (problem !== undefined)
        throw new MersalError('MERSAL_INVALID_OPTIONS', `topics: ${problem}`, {
          details: { field: 'topics' },
        })
    }
    // Bindings cannot be looked at through AMQP, so with `check` they are the operator's word.
    if (this.#settings.topology === 'check' || topics.length === 0) return
    const exchange = this.#settings.eventsExchange
    await this.eventsExchange(this.#link)
    await this.#on(this.#link, `the bindings of queue '${queue}'`, async (channel) => {
      for (const topic of topics)
        await (remove
          ? channel.unbindQueue(queue, exchange, topic)
          : channel.bindQueue(queue, exchange, topic))
    })
  }

  async eventsExchange(link: RabbitLink): Promise<void> {
    const name = this.#settings.eventsExchange
    await this.#on(link, `exchange '${name}'`, async (channel) => {
      await (this.#settings.topology === 'check'
        ? channel.checkExchange(name)
        : channel.assertExchange(name, 'topic', { durable: true }))
    })
  }

  /** True if a quorum queue was made now, and must be left alone for a moment. */
  async #declare(queue: string, args: Arguments): Promise<boolean> {
    const what = `queue '${queue}'`
    const { topology, queueType, newQueuePauseMs } = this.#settings
    if (topology === 'check') {
      await this.#on(this.#link, what, (channel) => channel.checkQueue(queue))
      return false
    }
    const isNew = queueType === 'quorum' && newQueuePauseMs > 0 && !(await this.exists(queue))
    await this.#on(this.#link, what, (channel) =>
      channel.assertQueue(queue, { durable: true, arguments: args }),
    )
    return isNew
  }

  /** Asks on a channel of its own, because the answer 404 closes it. */
  async exists(queue: string): Promise<boolean> {
    try {
      await withChannel(this.#link, (channel) => channel.checkQueue(queue))
      return true
    } catch (error) {
      if (replyCode(error) === 404) return false
      throw topologyError(`queue '${queue}'`, error, this.#describe)
    }
  }

  /** One channel per question: a refusal closes the channel on which it was asked. */
  async #on(
    link: RabbitLink,
    what: string,
    task: (channel: Channel) => Promise<unknown>,
  ): Promise<void> {
    try {
      await withChannel(link, task)
    } catch (error) {
      throw topologyError(what, error, this.#describe)
    }
  }
}

/** The meanings of the reply codes are those of the AMQP 0-9-1 specification, part 1.5. */
export function topologyError(what: string, error: unknown, describe: Describe): MersalError {
  const text = describe(error)
  const details = { replyCode: replyCode(error) }
  switch (details.replyCode) {
    case 403:
      return new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `the user has no privilege for ${what}: ${text}`,
        { details },
      )
    case 404:
      return new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `${what} does not exist; declare it, or use topology: 'declare': ${text}`,
        {
          details,
        },
      )
    case 405:
    case 406:
      return new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `${what} exists with other properties; delete it, choose another name, or give the same options: ${text}`,
        { details },
      )
    case undefined:
    default:
      return error instanceof MersalError
        ? error
        : new MersalError('MERSAL_UNAVAILABLE', `${what} could not be prepared: ${text}`, {
            details,
          })
  }
}

/**
 * `letGo` makes the consumers of a queue close their channels; they begin again by themselves. A
 * quorum queue that is deleted and made again within the same moment keeps the consumers of the old
 * one without telling them, and sends them its messages into the void (RabbitMQ 3.10.8). So the
 * first try waits, and consumers are told of the end of a queue before it has a successor.
 */
export function ownQueues(
  topology: Topology,
  { topology: mode, logger }: RabbitSettings,
  letGo: (queue: string) => Promise<void>,
): OwnQueues {
  return new OwnQueues({
    maker: {
      queue: (name) => topology.queue(name),
      bind: (queue, topics, remove) => topology.bind(queue, topics, remove),
      async beforeAgain(queue) {
        if (!(await topology.exists(queue))) await letGo(queue)
      },
    },
    declares: mode === 'declare',
    pause: { firstMs: 1000, longestMs: 3000 },
    logger,
    clock: systemClock,
    random: Math.random,
  })
}
