import { checkChoice, checkLogger, checkNumber, invalidOption } from '../../core/options.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import type { Logger } from '../../core/telemetry.ts'

/** What all transports with a connection to a server can be told. */
export interface ConnectionSettings {
  readonly confirmTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly logger: Logger
}

/** What all brokers whose queues the transport makes can be told. */
export interface BrokerSettings extends ConnectionSettings {
  readonly topology: 'declare' | 'check'
  readonly discardUnroutedEvents: boolean
}

interface ConnectionOptions {
  readonly confirmTimeoutMs?: number
  readonly connectTimeoutMs?: number
  readonly logger?: Logger | false
}

interface BrokerOptions extends ConnectionOptions {
  readonly topology?: 'declare' | 'check'
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function connectionSettings(where: string, given: ConnectionOptions): ConnectionSettings {
  const time = { default: 10_000, min: 10, max: 600_000 }
  return {
    confirmTimeoutMs: checkNumber(`${where}.confirmTimeoutMs`, given.confirmTimeoutMs, time),
    connectTimeoutMs: checkNumber(`${where}.connectTimeoutMs`, given.connectTimeoutMs, time),
    logger: checkLogger(`${where}.logger`, given.logger),
  }
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function brokerSettings(where: string, given: BrokerOptions): BrokerSettings {
  const unrouted = checkChoice(
    `${where}.eventsWithoutSubscribers`,
    given.eventsWithoutSubscribers,
    ['refuse', 'discard'] as const,
    'refuse',
  )
  const topologies = ['declare', 'check'] as const
  return {
    ...connectionSettings(where, given),
    topology: checkChoice(`${where}.topology`, given.topology, topologies, 'declare'),
    discardUnroutedEvents: unrouted === 'discard',
  }
}

/** What all queues in databases can be told. */
export interface QueueSettings {
  /** Largest body plus headers, in bytes. Default 16 MiB. */
  readonly maxMessageBytes: number
  /**
   * What becomes of an event that no queue takes: `refuse` answers `unroutable`, `discard` answers
   * `confirmed`. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers: 'refuse' | 'discard'
  /**
   * A message whose consumer has died is delivered again after this time, in milliseconds. Renewed
   * while the consumer lives. From 30 to a day. Default 30000.
   */
  readonly visibilityMs: number
  /**
   * Safety net: consumers look at least this often, in milliseconds. From 1 to an hour. Default
   * 1000.
   */
  readonly pollIntervalMs: number
  /**
   * How many messages a consumer holds: those that are handled, and beyond them some that wait for
   * a free hand, so that many are taken at a time. When a process dies, each of them counts as
   * delivered. From 1 to 10,000; no less than `receive.concurrency`, which is the default.
   */
  readonly prefetch: number
}

export const queueOptionNames: readonly (keyof QueueSettings)[] = [
  'maxMessageBytes',
  'eventsWithoutSubscribers',
  'visibilityMs',
  'pollIntervalMs',
  'prefetch',
]

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function queueSettings(
  where: string,
  given: Partial<Record<keyof QueueSettings, unknown>>,
  { largestBytes }: { readonly largestBytes: number },
): QueueSettings {
  return {
    maxMessageBytes: checkNumber(`${where}.maxMessageBytes`, given.maxMessageBytes, {
      default: 16 * 1024 * 1024,
      min: 1,
      max: largestBytes,
    }),
    eventsWithoutSubscribers: checkChoice(
      `${where}.eventsWithoutSubscribers`,
      given.eventsWithoutSubscribers,
      ['refuse', 'discard'] as const,
      'refuse',
    ),
    visibilityMs: checkNumber(`${where}.visibilityMs`, given.visibilityMs, {
      default: 30_000,
      min: 30,
      max: 86_400_000,
    }),
    pollIntervalMs: checkNumber(`${where}.pollIntervalMs`, given.pollIntervalMs, {
      default: 1000,
      min: 1,
      max: 3_600_000,
    }),
    prefetch: checkNumber(`${where}.prefetch`, given.prefetch, { default: 0, min: 1, max: 10_000 }),
  }
}

/** Throws unless each of these can name a queue or a topic. */
export function checkNames(names: readonly string[]): void {
  if (!names.every((name) => isName(name)))
    throw invalidOption('queue', `a queue or topic needs a name with ${nameRule}`)
}
