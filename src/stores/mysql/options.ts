import { checkChoice, checkNumber, checkOptions, checkShape } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import type { MysqlConnection, MysqlPool } from '../../sql/mysql/client.ts'
import type { MigrateMode } from '../../sql/shared/migrations.ts'
import {
  checkKeepSentMs,
  type DatabaseSettings,
  databaseSettings,
} from '../../sql/shared/options.ts'
import { checkOwnPool, checkPool, databaseFor } from '../../sql/mysql/options.ts'
import type { Session } from '../../sql/session.ts'
import type { Isolation } from './unit/unit-of-work.ts'

/** Options of `mysql()`. */
export interface MysqlOptions<Tx = MysqlConnection> {
  /**
   * A pool of `mysql2/promise` 3. Units of work take their connections from it; it stays yours.
   */
  readonly pool: MysqlPool
  /** How to work in the transactions of another library. Default: connections of `mysql2`. */
  readonly session?: Session<Tx>
  /**
   * A pool for the relay and the janitor, with at least 3 connections; it stays yours. Give one
   * with a direct connection when `pool` goes through a proxy. Default: 4 connections with the
   * settings of `pool`.
   */
  readonly relayPool?: MysqlPool
  /**
   * Database of the tables, whose names begin with `mersal_`: 1 to 48 letters, digits or '_'.
   * Default: the one that the connections of `pool` begin with.
   */
  readonly schema?: string
  /**
   * `auto`: create and update the tables. `check`: throw unless they are up to date. `off`: trust.
   * Default 'auto'.
   */
  readonly migrate?: MigrateMode
  /**
   * Confirmed messages are kept this long, in milliseconds, in the table `mersal_sent`. From 0 to
   * ten years. Default 0: deleted at once.
   */
  readonly keepSentMs?: number
  /**
   * Isolation of our own units of work; `server`: whatever it has. Default 'read committed', which
   * locks no gaps between rows. With any other, keyed messages take no express lane.
   */
  readonly isolation?: Isolation
  /**
   * How often a unit of work is run again, as a whole, after a conflict: a
   * deadlock, or `ER_CHECKREAD` of MariaDB 11.6. From 0 to 100. Default 0.
   */
  readonly retrySerialization?: number
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
}

export interface MysqlSettings extends DatabaseSettings {
  readonly database: string
  readonly keepSentMs: number
  readonly isolation: Isolation
  readonly retrySerialization: number
}

const known =
  'pool session relayPool schema migrate keepSentMs isolation retrySerialization logger clock'.split(
    ' ',
  )
const isolations = ['read committed', 'repeatable read', 'serializable', 'server'] as const

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function mysqlSettings<Tx>(given: MysqlOptions<Tx>): MysqlSettings {
  checkOptions('mysql', given, known)
  checkPool('mysql.pool', given.pool)
  if (given.relayPool !== undefined) checkOwnPool('mysql.relayPool', given.relayPool)
  if (given.session !== undefined) checkShape('mysql.session', given.session, ['executor'])
  return {
    ...databaseSettings('mysql', given),
    database: databaseFor('mysql', given),
    keepSentMs: checkKeepSentMs('mysql', given.keepSentMs),
    isolation: checkChoice('mysql.isolation', given.isolation, isolations, 'read committed'),
    retrySerialization: checkNumber('mysql.retrySerialization', given.retrySerialization, {
      default: 0,
      min: 0,
      max: 100,
    }),
  }
}
