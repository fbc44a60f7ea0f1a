import { checkBoolean, checkNumber, checkOptions, checkShape } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { checkAddress } from '../../sql/postgres/pool/pool-address.ts'
import { checkIdentifier } from '../../sql/identifiers.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { PostgresPool } from '../../sql/postgres/client.ts'
import { queueOptionNames, queueSettings, type QueueSettings } from '../shared/settings.ts'
import type { MigrateMode } from '../../sql/shared/migrations.ts'
import { type DatabaseSettings, databaseSettings } from '../../sql/shared/options.ts'

/** Options of `postgresQueue()`. */
export interface PostgresQueueOptions extends Pick<Partial<QueueSettings>, 'prefetch'> {
  /**
   * A pool of `pg` 8, whose settings the queue uses for a few connections of its own; it stays
   * yours.
   */
  readonly pool: PostgresPool
  /**
   * A pool for everything that the queue does, with at least 3 connections; it stays yours. Give
   * one with direct connections when `pool` goes through a pooler. Default: 5 connections with the
   * settings of `pool`.
   */
  readonly queuePool?: PostgresPool
  /**
   * Schema of the tables: 1 to 48 letters, digits or '_'. May be that of the store. Default
   * 'mersal'.
   */
  readonly schema?: string
  /**
   * `auto`: create and update the tables. `check`: throw unless they are up to date. `off`: trust.
   * Default 'auto'.
   */
  readonly migrate?: MigrateMode
  /** Largest body plus headers, in bytes. At most 224 MiB. Default 16 MiB. */
  readonly maxMessageBytes?: number
  /**
   * `refuse`: an event that no queue is subscribed to is unroutable. `discard`: it is confirmed and
   * dropped. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /**
   * A message whose consumer has died is delivered again after this time, in milliseconds. Renewed
   * while the consumer lives. From 30 to a day. Default 30000.
   */
  readonly visibilityMs?: number
  /**
   * Safety net: consumers look at least this often, in milliseconds. From 1 to an hour. Default
   * 1000.
   */
  readonly pollIntervalMs?: number
  /**
   * The connection that listens is asked for an answer this often, in milliseconds. From 100 to
   * 60,000. Default 5000.
   */
  readonly heartbeatMs?: number
  /**
   * False: messages of an app whose store is in the same schema of the same database take the way
   * over outbox and relay, as with any other transport. Default true: they go straight into the
   * queue, in the transaction of the sender.
   */
  readonly straight?: boolean
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. Default `Math.random`. */
  readonly random?: Random
}

export interface PostgresQueueSettings extends QueueSettings, DatabaseSettings {
  readonly pool: PostgresPool
  readonly queuePool: PostgresPool | undefined
  readonly schema: string
  readonly heartbeatMs: number
  readonly straight: boolean
}

const known = [
  ...queueOptionNames,
  ...'pool queuePool schema migrate heartbeatMs straight logger clock random'.split(' '),
]
const where = 'postgresQueue'
/** A message that is stored must be readable as well, with the quotes around its headers. */
const LARGEST_BYTES = MOST_FETCHED_BYTES - 16 * 1024 * 1024

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function postgresQueueSettings(given: PostgresQueueOptions): PostgresQueueSettings {
  checkOptions(where, given, known)
  checkShape(`${where}.pool`, given.pool, ['connect', 'on', 'off', 'end'])
  checkAddress(`${where}.pool`, given.pool)
  if (given.queuePool !== undefined) {
    checkShape(`${where}.queuePool`, given.queuePool, ['connect', 'on', 'off', 'end'])
    checkAddress(`${where}.queuePool`, given.queuePool)
  }
  return {
    ...queueSettings(where, given, { largestBytes: LARGEST_BYTES }),
    ...databaseSettings(where, given),
    pool: given.pool,
    queuePool: given.queuePool,
    schema: checkIdentifier(
      `${where}.schema`,
      given.schema === undefined ? 'mersal' : given.schema,
    ),
    heartbeatMs: checkNumber(`${where}.heartbeatMs`, given.heartbeatMs, {
      default: 5000,
      min: 100,
      max: 60_000,
    }),
    straight: checkBoolean(`${where}.straight`, given.straight) ?? true,
  }
}
