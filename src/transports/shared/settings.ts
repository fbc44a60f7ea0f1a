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

/**
 * Throws `MERSAL_INVALID_OPTIONS` unless what `connect` of the user has returned has these methods.
 * `what`: what it should be.
 */
export function checkConnected(
  field: string,
  given: unknown,
  methods: readonly string[],
  what: string,
): void {
  const found = Object(given) as Readonly<Record<string, unknown>>
  if (given === undefined || methods.some((method) => typeof found[method] !== 'function'))
    throw invalidOption(field, `it must return a promise of ${what}, and returned something else`)
}

/** Throws unless each of these can name a queue or a topic. */
export function checkNames(names: readonly string[]): void {
  if (!names.every((name) => isName(name)))
    throw invalidOption('queue', `a queue or topic needs a name with ${nameRule}`)
}

/** What stands in PEM; the same with `File` behind it is the path of such a file. */
const parts = ['ca', 'cert', 'key'] as const

/**
 * Throws `MERSAL_INVALID_OPTIONS` unless certificates and names are texts that can be right. The
 * names of the fields have been checked. No text is shown: it may be a key.
 */
export function checkTlsTexts(where: string, given: object): void {
  const texts = given as Readonly<Record<string, unknown>>
  for (const [name, text] of Object.entries(texts))
    if (text !== undefined && (typeof text !== 'string' || text === ''))
      throw invalidOption(`${where}.${name}`, 'expected a text that is not empty')
  for (const part of parts) {
    const text = texts[part]
    const file = `${part}File`
    if (typeof text === 'string' && !text.includes('-----BEGIN '))
      throw invalidOption(`${where}.${part}`, 'expected text in PEM, not the name of a file')
    if (text !== undefined && texts[file] !== undefined)
      throw invalidOption(`${where}.${part}`, `give either '${part}' or '${file}'`)
  }
  const has = (part: string): boolean => (texts[part] ?? texts[`${part}File`]) !== undefined
  if (has('cert') !== has('key'))
    throw invalidOption(`${where}.key`, "'cert' and 'key' go together")
}
