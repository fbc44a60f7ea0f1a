import type { Backoff } from '../lib/async/backoff.ts'
import {
  checkBackoff,
  checkBoolean,
  checkChoice,
  checkNumber,
  checkOptions,
} from '../core/options.ts'
import { checkOnExpired, type OnExpired } from '../core/messages/expiry.ts'
import type { OnDead } from '../core/outbox.ts'
import {
  checkRetries,
  type RefusalOptions,
  type RetriesByType,
  type TypeRetries,
} from './type-retries.ts'

/** What becomes of messages that are not published. */
export interface GivingUpOptions {
  /**
   * What happens to the later messages of a key when one of them is given up. Default 'block-key'.
   */
  readonly onDead?: OnDead
  /**
   * What becomes of a message that has expired (`expiresInMs` of its sender) before it was
   * published. Later messages of its key go on in any case. 'discard' deletes it without a copy,
   * also one that an operator has put back. Default 'dead-letter'.
   */
  readonly onExpired?: OnExpired
}

/** How messages leave before a claim finds them. */
export interface LaneOptions {
  /**
   * Whether the process that committed a message publishes it itself at once. 'commit-log': a relay
   * with `commitLog` does, while there is one; needs `postgres()`. Default true.
   */
  readonly express?: boolean | 'commit-log'
  /**
   * Whether this relay reads the commit log of the database besides, and publishes from it what was
   * written with `express: 'commit-log'`. Needs `postgres()` and `wal_level = logical`. Default
   * false.
   */
  readonly commitLog?: boolean
  /**
   * How long a message in the express lane is left alone by the other relays. From 100 to an hour.
   * Default 10000.
   */
  readonly expressGraceMs?: number
}

/** How the relay works. Every field has a default. Times are in milliseconds. */
export interface RelayOptions extends GivingUpOptions, LaneOptions {
  /** Safety net: the relay looks at least this often. From 1 to an hour. Default 1000. */
  readonly pollIntervalMs?: number
  /** Rows taken by one claim. From 1 to 10,000. Default 500. */
  readonly batchSize?: number
  /**
   * Most messages in the hands of this relay. From `batchSize` to 100,000. Default 1000, or
   * `batchSize` if that is more.
   */
  readonly window?: number
  /**
   * Most bytes in the hands of this relay, and one message more. From 1 MiB to 1 GiB. Default 32
   * MiB; several stores in one process share it.
   */
  readonly windowBytes?: number
  /**
   * How long a claim holds. A killed relay's work is taken over after it. From 100 to an hour.
   * Default 15000.
   */
  readonly claimMs?: number
  /**
   * A message that the broker refuses this often becomes a dead letter. From 1 to 10,000. Default
   * 10.
   */
  readonly maxAttempts?: number
  /** Waiting time after a refusal. Default 1 s, doubling, at most 5 minutes, with jitter. */
  readonly retry?: Backoff
  /** By type of the message: what is different for it. Default nothing. */
  readonly retries?: Readonly<Record<string, RefusalOptions>>
  /**
   * Waiting time of the breaker of a destination that does not answer. Default 1 s, doubling, at
   * most 30 s, with jitter.
   */
  readonly breaker?: Backoff
}

export interface RelaySettings extends Required<GivingUpOptions>, Required<LaneOptions> {
  readonly pollIntervalMs: number
  readonly batchSize: number
  readonly window: number
  readonly windowBytes: number
  readonly claimMs: number
  readonly maxAttempts: number
  readonly retry: Backoff
  readonly retries: RetriesByType
  readonly breaker: Backoff
}

const known = [
  'pollIntervalMs',
  'batchSize',
  'window',
  'windowBytes',
  'claimMs',
  'maxAttempts',
  'retry',
  'retries',
  'breaker',
  'onDead',
  'onExpired',
  'express',
  'commitLog',
  'expressGraceMs',
]

export const LEAST_WINDOW_BYTES: number = 1 << 20

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function relaySettings(given: RelayOptions = {}, where = 'outbox.relay'): RelaySettings {
  checkOptions(where, given, known)
  const batchSize = checkNumber(`${where}.batchSize`, given.batchSize, {
    default: 500,
    min: 1,
    max: 10_000,
  })
  const claimMs = checkNumber(`${where}.claimMs`, given.claimMs, {
    default: 15_000,
    min: 100,
    max: 3_600_000,
  })
  const retries = retriesIn(given, where)
  return {
    pollIntervalMs: checkNumber(`${where}.pollIntervalMs`, given.pollIntervalMs, {
      default: 1000,
      min: 1,
      max: 3_600_000,
    }),
    batchSize,
    window: checkNumber(`${where}.window`, given.window, {
      default: Math.max(1000, batchSize),
      min: batchSize,
      max: 100_000,
    }),
    windowBytes: checkNumber(`${where}.windowBytes`, given.windowBytes, {
      default: 32 << 20,
      min: LEAST_WINDOW_BYTES,
      max: 1 << 30,
    }),
    claimMs,
    ...retries,
    retries: checkRetries(`${where}.retries`, given.retries, retries),
    breaker: checkBackoff(`${where}.breaker`, given.breaker, {
      preset: { firstMs: 1000, longestMs: 30_000 },
      leastMs: 1,
    }),
    ...givingUp(given, where),
    express:
      given.express === 'commit-log'
        ? given.express
        : (checkBoolean(`${where}.express`, given.express) ?? true),
    commitLog: checkBoolean(`${where}.commitLog`, given.commitLog) ?? false,
    expressGraceMs: checkNumber(`${where}.expressGraceMs`, given.expressGraceMs, {
      default: 10_000,
      min: 100,
      max: 3_600_000,
    }),
  }
}

function retriesIn(given: RelayOptions, where: string): TypeRetries {
  return {
    maxAttempts: checkNumber(`${where}.maxAttempts`, given.maxAttempts, {
      default: 10,
      min: 1,
      max: 10_000,
    }),
    retry: checkBackoff(`${where}.retry`, given.retry, {
      preset: { firstMs: 1000, longestMs: 300_000 },
      leastMs: 1,
    }),
  }
}

function givingUp(given: GivingUpOptions, where: string): Required<GivingUpOptions> {
  return {
    onDead: checkChoice(
      `${where}.onDead`,
      given.onDead,
      ['block-key', 'skip'] as const,
      'block-key',
    ),
    onExpired: checkOnExpired(`${where}.onExpired`, given.onExpired),
  }
}
