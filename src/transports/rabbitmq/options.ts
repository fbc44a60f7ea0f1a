import type { ConnectionOptions } from 'node:tls'
import type { ChannelModel, Options } from 'amqplib'
import { MersalError } from '../../core/errors/errors.ts'
import {
  checkChoice,
  checkNamed,
  checkNumber,
  checkOptions,
  checkShape,
} from '../../core/options.ts'
import { type Logger, silentLogger, stderrLogger } from '../../core/telemetry.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import { parseAddress } from './connection/address.ts'
import { checkQueueArguments } from './topology/audit.ts'
import { type BundleOptions, type BundleSettings, checkBundles } from './bundles/bundle-options.ts'

/** Opens a connection with amqplib; called again whenever one was lost, at most once a second. */
export type Connect = () => Promise<ChannelModel>

/** Options of `rabbitmq()`. */
export interface RabbitOptions {
  /**
   * `amqp://user:password@host:port/vhost`, or `amqps://`. Give this or `connect`. Default none.
   */
  readonly url?: string
  /**
   * For connections that a URL cannot express. Set `noDelay`, a heartbeat and a timeout yourself.
   * Default: Mersal connects to `url`.
   */
  readonly connect?: Connect
  /** Certificates and the like, for `amqps://`. Default none. */
  readonly tls?: ConnectionOptions
  /**
   * `declare`: queues, exchanges and bindings are made when they are needed. `check`: they must
   * exist; a missing one is an error. Default 'declare'.
   */
  readonly topology?: 'declare' | 'check'
  /**
   * Kind of the queues of the apps. `quorum`: kept on several nodes of a cluster. `classic`: on
   * one. Default 'quorum'.
   */
  readonly queueType?: 'quorum' | 'classic'
  /**
   * How long a quorum queue that was just made is left alone before it is relied on. RabbitMQ 3.10
   * loses it, with what it has confirmed, when the node is killed within its first second. From 0
   * to 60,000. Default 1500.
   */
  readonly newQueuePauseMs?: number
  /**
   * Further `x-` arguments of the app queues. Those that lose messages are refused. Default none.
   */
  readonly queueArguments?: Readonly<Record<string, string | number | boolean>>
  /**
   * Only one consumer at a time gets messages of a queue; another takes over when it goes. Default
   * false.
   */
  readonly singleActiveConsumer?: boolean
  /**
   * Of a queue that is read in order (`receive.orderPerKey`): how many processes can share it. From
   * 1 to 256, and the same for all processes for the life of the queue. Default 16.
   */
  readonly partitions?: number
  /**
   * How many messages a consumer holds: those that are handled, and beyond them some that wait for
   * a free hand, so that no hand waits for the broker. When a process dies, each of them counts as
   * delivered. From 1 to 10,000; no less than `receive.concurrency`, which is the default.
   */
  readonly prefetch?: number
  /** Topic exchange of all events. Default 'mersal.events'. */
  readonly eventsExchange?: string
  /**
   * What becomes of an event that no queue takes: `refuse` answers `unroutable`, `discard` answers
   * `confirmed`. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /**
   * Publishes several messages to one queue in one broker message. Default: each in one of its own.
   * Bundles are opened with and without it.
   */
  readonly bundles?: BundleOptions
  /**
   * Largest body plus headers, in bytes. Not above `max_message_size` of the broker. From 1 KiB to
   * 512 MiB. Default 16 MiB.
   */
  readonly maxMessageBytes?: number
  /** A publish that is not answered for so long is `unknown`. From 10 to 600,000. Default 10000. */
  readonly confirmTimeoutMs?: number
  /** For the connection, the handshake and every declaration. From 10 to 600,000. Default 10000. */
  readonly connectTimeoutMs?: number
  /**
   * A dead connection is noticed within three of these. From 1 to 60. Default 6. Not used with
   * `connect`.
   */
  readonly heartbeatSeconds?: number
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

export interface RabbitSettings {
  readonly source:
    | { readonly address: Options.Connect; readonly tls: ConnectionOptions }
    | { readonly connect: Connect }
  readonly topology: 'declare' | 'check'
  readonly queueType: 'quorum' | 'classic'
  readonly newQueuePauseMs: number
  readonly queueArguments: Readonly<Record<string, string | number | boolean>>
  readonly singleActiveConsumer: boolean
  readonly partitions: number
  /** 0: as many as are handled at a time. */
  readonly prefetch: number
  readonly eventsExchange: string
  readonly discardUnroutedEvents: boolean
  readonly bundles: BundleSettings | undefined
  readonly maxMessageBytes: number
  readonly confirmTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly heartbeatSeconds: number
  readonly logger: Logger
}

const known = [
  'url',
  'connect',
  'tls',
  'topology',
  'queueType',
  'newQueuePauseMs',
  'queueArguments',
  'singleActiveConsumer',
  'partitions',
  'prefetch',
  'eventsExchange',
  'eventsWithoutSubscribers',
  'bundles',
  'maxMessageBytes',
  'confirmTimeoutMs',
  'connectTimeoutMs',
  'heartbeatSeconds',
  'logger',
] satisfies (keyof RabbitOptions)[]

function invalid(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `rabbitmq.${field}: ${text}`, {
    details: { field: `rabbitmq.${field}` },
  })
}

function checkSource({ url, connect, tls }: RabbitOptions): RabbitSettings['source'] {
  if ((url === undefined) === (connect === undefined))
    throw invalid('url', "give either 'url' or 'connect'")
  if (tls !== undefined) checkNamed('rabbitmq.tls', tls, 'the options of node:tls')
  if (connect === undefined) {
    const address = parseAddress(url)
    // amqplib would leave them out, and everything would travel in the clear.
    if (tls !== undefined && address.protocol !== 'amqps')
      throw invalid('tls', "needs a URL that begins with 'amqps://'")
    return { address, tls: tls ?? {} }
  }
  if (typeof connect !== 'function')
    throw invalid('connect', 'expected a function that opens a connection with amqplib')
  if (tls !== undefined)
    throw invalid('tls', "goes with 'url': your 'connect' makes the connection")
  return { connect }
}

function checkBoolean(field: string, given: unknown): boolean {
  if (given !== undefined && typeof given !== 'boolean')
    throw invalid(field, 'expected true or false')
  return given ?? false
}

function checkExchange(given: unknown = 'mersal.events'): string {
  if (!isName(given)) throw invalid('eventsExchange', `expected ${nameRule}`)
  if (given.startsWith('amq.'))
    throw invalid('eventsExchange', "names that begin with 'amq.' belong to the broker")
  return given
}

function checkLogger(given: Logger | false | undefined): Logger {
  if (given === false) return silentLogger
  if (given === undefined) return stderrLogger
  checkShape('rabbitmq.logger', given, ['debug', 'info', 'warn', 'error'])
  return given
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function rabbitSettings(given: RabbitOptions): RabbitSettings {
  checkOptions('rabbitmq', given, known)
  const unrouted = checkChoice(
    'rabbitmq.eventsWithoutSubscribers',
    given.eventsWithoutSubscribers,
    ['refuse', 'discard'] as const,
    'refuse',
  )
  const maxMessageBytes = checkNumber('rabbitmq.maxMessageBytes', given.maxMessageBytes, {
    default: 16 << 20,
    min: 1024,
    max: 512 << 20,
  })
  const time = (field: 'confirmTimeoutMs' | 'connectTimeoutMs'): number =>
    checkNumber(`rabbitmq.${field}`, given[field], { default: 10_000, min: 10, max: 600_000 })
  return {
    source: checkSource(given),
    topology: checkChoice(
      'rabbitmq.topology',
      given.topology,
      ['declare', 'check'] as const,
      'declare',
    ),
    queueType: checkChoice(
      'rabbitmq.queueType',
      given.queueType,
      ['quorum', 'classic'] as const,
      'quorum',
    ),
    newQueuePauseMs: checkNumber('rabbitmq.newQueuePauseMs', given.newQueuePauseMs, {
      default: 1500,
      min: 0,
      max: 60_000,
    }),
    queueArguments: checkQueueArguments(given.queueArguments),
    singleActiveConsumer: checkBoolean('singleActiveConsumer', given.singleActiveConsumer),
    partitions: checkNumber('rabbitmq.partitions', given.partitions, {
      default: 16,
      min: 1,
      max: 256,
    }),
    prefetch: checkNumber('rabbitmq.prefetch', given.prefetch, { default: 0, min: 1, max: 10_000 }),
    eventsExchange: checkExchange(given.eventsExchange),
    discardUnroutedEvents: unrouted === 'discard',
    bundles: checkBundles(given.bundles, maxMessageBytes),
    maxMessageBytes,
    confirmTimeoutMs: time('confirmTimeoutMs'),
    connectTimeoutMs: time('connectTimeoutMs'),
    heartbeatSeconds: checkNumber('rabbitmq.heartbeatSeconds', given.heartbeatSeconds, {
      default: 6,
      min: 1,
      max: 60,
    }),
    logger: checkLogger(given.logger),
  }
}
