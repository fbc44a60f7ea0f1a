import type { DocumentStorage } from '../../core/records/documents.ts'
import { isName, isQueueName, queueNameRule } from '../../core/messages/validation.ts'
import {
  checkLogger,
  checkBackoff,
  checkNamed,
  checkNumber,
  checkOptions,
  checkShape,
  checkTransports,
  invalidOption,
} from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Transport } from '../../core/transport.ts'
import type { Backoff } from '../../lib/async/backoff.ts'
import { systemClock, systemRandom } from '../../lib/async/clock.ts'
import { printable } from '../../lib/text.ts'
import { checkRetries, type RefusalOptions } from '../../outbox/type-retries.ts'
import type { RoutingFacts } from '../send/routing.ts'
import { DocumentRelay } from './relay.ts'

/** Options of `documents()`. */
export interface DocumentsOptions {
  /** Names the sender in headers, and the consumer in the inbox. */
  readonly name: string
  /** Where the documents are: `redisDocuments()`, or one of your own. */
  readonly storage: DocumentStorage
  /** The broker. It stays yours. */
  readonly transport: Transport
  /** Further transports by name. Default none. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /** The queue of the app that owns a command, by the name of the command. Default none. */
  readonly routes?: Readonly<Record<string, string>>
  /** The relay looks at least this often, in milliseconds. From 1 to an hour. Default 1000. */
  readonly pollIntervalMs?: number
  /** Documents whose messages are published at the same time. From 1 to 10,000. Default 50. */
  readonly concurrency?: number
  /**
   * A relay that has died gives its documents to others after this time. From 100 to an hour.
   * Default 15000.
   */
  readonly holdMs?: number
  /** Refusals after which a message becomes a dead letter. From 1 to 1,000,000. Default 10. */
  readonly maxAttempts?: number
  /** Waiting time after a refusal. Default 1 s, doubling, at most 5 minutes. */
  readonly retry?: Backoff
  /** By type of the message: what is different for it. Default nothing. */
  readonly retries?: Readonly<Record<string, RefusalOptions>>
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

const known = [
  'name',
  'storage',
  'transport',
  'bridges',
  'routes',
  'pollIntervalMs',
  'concurrency',
  'holdMs',
  'maxAttempts',
  'retry',
  'retries',
  'logger',
] satisfies (keyof DocumentsOptions)[]

/** What the options say, with every default filled in. */
export interface DocumentsSettings {
  readonly name: string
  readonly storage: DocumentStorage
  readonly transports: ReadonlyMap<string, Transport>
  readonly routing: RoutingFacts
  readonly relay: DocumentRelay
  readonly logger: Logger
}

/** Throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function documentsSettings(options: DocumentsOptions): DocumentsSettings {
  checkOptions('documents', options, known)
  const { storage } = options
  const methods = ['load', 'save', 'findWithMessages', 'removeMessages']
  checkShape('documents.storage', storage, methods)
  const transports = checkTransports('documents.', options)
  if (options.transport === undefined) throw invalidOption('documents.transport', 'is missing')
  const logger = checkLogger('documents.logger', options.logger)
  return {
    name: checkName(options.name),
    storage,
    transports,
    routing: routingOf(options.routes, transports),
    relay: relayFor(options, transports, logger),
    logger,
  }
}

function checkName(name: unknown): string {
  if (!isQueueName(name)) throw invalidOption('documents.name', `expected ${queueNameRule}`)
  return name
}

function relayFor(
  options: DocumentsOptions,
  transports: ReadonlyMap<string, Transport>,
  logger: Logger,
): DocumentRelay {
  const number = (field: keyof DocumentsOptions, preset: number, max: number, min = 1): number =>
    checkNumber(`documents.${field}`, options[field], { default: preset, min, max })
  const all = {
    maxAttempts: number('maxAttempts', 10, 1_000_000),
    retry: checkBackoff('documents.retry', options.retry, {
      preset: { firstMs: 1000, longestMs: 300_000 },
      leastMs: 1,
    }),
  }
  return new DocumentRelay({
    name: checkName(options.name),
    storage: options.storage,
    transports,
    pollIntervalMs: number('pollIntervalMs', 1000, 3_600_000),
    concurrency: number('concurrency', 50, 10_000),
    holdMs: number('holdMs', 15_000, 3_600_000, 100),
    ...all,
    retries: checkRetries('documents.retries', options.retries, all),
    logger,
    clock: systemClock,
    random: systemRandom,
  })
}

function routingOf(
  routes: DocumentsOptions['routes'],
  transports: RoutingFacts['transports'],
): RoutingFacts {
  if (routes !== undefined) checkNamed('documents.routes', routes, 'a queue')
  for (const [type, queue] of Object.entries(routes ?? {}) as [string, unknown][])
    if (!isName(type) || !isQueueName(queue))
      throw invalidOption(
        `documents.routes['${printable(type)}']`,
        `expected the name of a queue under that of a command: ${queueNameRule}`,
      )
  const entries = Object.entries(routes ?? {}).map(
    ([type, queue]) => [type, { queue, transport: undefined }] as const,
  )
  return { ownQueue: undefined, routes: new Map(entries), handles: () => false, transports }
}
