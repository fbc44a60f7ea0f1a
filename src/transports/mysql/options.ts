import { checkOptions } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import type { MysqlPool } from '../../sql/mysql/client.ts'
import { checkOwnPool, checkPool, databaseFor } from '../../sql/mysql/options.ts'
import type { MigrateMode } from '../../sql/shared/migrations.ts'
import { type DatabaseSettings, databaseSettings } from '../../sql/shared/options.ts'
import { queueOptionNames, queueSettings, type QueueSettings } from '../shared/settings.ts'

/** Options of `mysqlQueue()`. */
export interface MysqlQueueOptions extends Pick<Partial<QueueSettings>, 'prefetch'> {
  /**
   * A pool of `mysql2/promise` 3, whose settings the queue uses for a few connections of its own;
   * it stays yours.
   */
  readonly pool: MysqlPool
  /**
   * A pool for everything that the queue does, with at least 3 connections; it stays yours. Give
   * one with direct connections when `pool` goes through a proxy. Default: 5 connections with the
   * settings of `pool`.
   */
  readonly queuePool?: MysqlPool
  /**
   * Database of the tables, whose names begin with `mersal_queue`: 1 to 48 letters, digits or '_'.
   * May be that of the store. Default: the one that the connections of `pool` begin with.
   */
  readonly schema?: string
  /**
   * `auto`: create and update the tables. `check`: throw unless they are up to date. `off`: trust.
   * Default 'auto'.
   */
  readonly migrate?: MigrateMode
  /**
   * Largest body plus headers, in bytes. Must fit into a packet of the server
   * (`max_allowed_packet`), with 64 KiB to spare. From 1 to 1023 MiB. Default 8 MiB.
   */
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
   * Consumers look at least this often, in milliseconds, which is how they find messages of other
   * processes. From 1 to an hour. Default 250.
   */
  readonly pollIntervalMs?: number
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. Default `Math.random`. */
  readonly random?: Random
}

export interface MysqlQueueSettings extends QueueSettings, DatabaseSettings {
  readonly pool: MysqlPool
  readonly queuePool: MysqlPool | undefined
  readonly database: string
}

const known = [
  ...queueOptionNames,
  ...'pool queuePool schema migrate logger clock random'.split(' '),
]
const where = 'mysqlQueue'
/** The largest packet that a server can be told to take, less what is around a message. */
const LARGEST_BYTES = 1024 ** 3 - 1024 ** 2
const DEFAULTS = { maxMessageBytes: 8 * 1024 * 1024, pollIntervalMs: 250 }

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function mysqlQueueSettings(given: MysqlQueueOptions): MysqlQueueSettings {
  checkOptions(where, given, known)
  checkPool(`${where}.pool`, given.pool)
  if (given.queuePool !== undefined) checkOwnPool(`${where}.queuePool`, given.queuePool)
  return {
    ...queueSettings(where, { ...DEFAULTS, ...given }, { largestBytes: LARGEST_BYTES }),
    ...databaseSettings(where, given),
    pool: given.pool,
    queuePool: given.queuePool,
    database: databaseFor(where, given),
  }
}
