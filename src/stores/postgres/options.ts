import { MersalError } from '../../core/errors/errors.ts'
import {
  checkBoolean,
  checkChoice,
  checkNumber,
  checkOptions,
  checkShape,
  invalidOption,
} from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { checkAddress } from '../../sql/postgres/pool/pool-address.ts'
import { checkIdentifier } from '../../sql/identifiers.ts'
import type { Session } from '../../sql/session.ts'
import type { PostgresClient, PostgresPool } from '../../sql/postgres/client.ts'
import type { ConnectionBudget } from '../../sql/postgres/pool/connection-budget.ts'
import type { Isolation } from '../../sql/postgres/unit/client-session.ts'
import type { MigrateMode } from '../../sql/shared/migrations.ts'
import {
  checkKeepSentMs,
  type DatabaseSettings,
  databaseSettings,
} from '../../sql/shared/options.ts'

/** Options of `postgres()`. */
export interface PostgresOptions<Tx = PostgresClient> {
  /** A pool of `pg` 8. Units of work take their connections from it; it stays yours. */
  readonly pool: PostgresPool
  /** How to work in the transactions of another library. Default: clients of `pg`. */
  readonly session?: Session<Tx>
  /**
   * A pool for the relay, the janitor and `LISTEN`, with at least 3 connections; it stays yours.
   * Give one with a direct connection when `pool` goes through a pooler. Default: 4 connections
   * with the settings of `pool`.
   */
  readonly relayPool?: PostgresPool
  /**
   * Bounds the connections of several stores together, in place of the 4 of each; from
   * `connectionBudget({ most })`, the same for all. Not with `relayPool`. Default none.
   */
  readonly connections?: ConnectionBudget
  /**
   * Whether a connection listens for notifications. Without it the relay only polls, which costs an
   * idle database less and a message up to `pollIntervalMs` more. Default true.
   */
  readonly listen?: boolean
  /** Schema of the tables: 1 to 48 letters, digits or '_'. Default 'mersal'. */
  readonly schema?: string
  /**
   * `auto`: create and update the tables. `check`: throw unless they are up to date. `off`: trust.
   * Default 'auto'.
   */
  readonly migrate?: MigrateMode
  /**
   * Confirmed messages are kept this long, in milliseconds, in daily partitions of the table
   * `sent`. From 0 to ten years. Default 0: deleted at once.
   */
  readonly keepSentMs?: number
  /**
   * The store vacuums the outbox after this many settled rows, and sooner when nothing is due. Its
   * role must own the table. 0 leaves it to autovacuum. From 0 to 100,000,000. Default 20000.
   */
  readonly vacuumRows?: number
  /**
   * Isolation of our own units of work. Default: that of the server. Not 'read committed': keyed
   * messages take the express lane no more.
   */
  readonly isolation?: Isolation
  /**
   * How often a unit of work is run again, as a whole, after a serialization failure or a deadlock.
   * From 0 to 100. Default 0.
   */
  readonly retrySerialization?: number
  /**
   * Whether Mersal's statements in your transactions are prepared under names, which saves the
   * server a third of their cost and which a pooler in transaction mode may not allow. Default:
   * yes, if no such pooler is found when the store opens and no `relayPool` is given.
   */
  readonly prepare?: boolean
  /**
   * The connection that listens is asked for an answer this often, in milliseconds. From 100 to
   * 60,000. Default 5000.
   */
  readonly heartbeatMs?: number
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. Default `Math.random`. */
  readonly random?: Random
}

export interface PostgresSettings extends DatabaseSettings {
  readonly schema: string
  readonly keepSentMs: number
  readonly vacuumRows: number
  readonly isolation: Isolation | undefined
  readonly retrySerialization: number
  readonly prepare: boolean | undefined
  readonly listen: boolean
  readonly heartbeatMs: number
}

const known =
  'pool session relayPool connections listen schema migrate keepSentMs vacuumRows isolation retrySerialization prepare heartbeatMs logger clock random'.split(
    ' ',
  )

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function postgresSettings<Tx>(given: PostgresOptions<Tx>): PostgresSettings {
  checkOptions('postgres', given, known)
  checkShape('postgres.pool', given.pool, ['connect', 'on', 'off', 'end'])
  checkAddress('postgres.pool', given.pool)
  if (given.relayPool !== undefined) {
    checkShape('postgres.relayPool', given.relayPool, ['connect', 'on', 'off', 'end'])
    checkAddress('postgres.relayPool', given.relayPool)
  }
  if (given.connections !== undefined) {
    checkShape('postgres.connections', given.connections, ['join'])
    // An array can be joined too.
    if (typeof given.connections.most !== 'number')
      throw invalidOption('postgres.connections', 'expected what connectionBudget() has made')
    if (given.relayPool !== undefined) {
      throw new MersalError(
        'MERSAL_INVALID_OPTIONS',
        "postgres.connections: the budget makes its own connections; leave out 'relayPool'",
        {
          details: { field: 'postgres.connections' },
        },
      )
    }
  }
  if (given.session !== undefined) checkShape('postgres.session', given.session, ['executor'])
  const { isolation } = given
  return {
    ...databaseSettings('postgres', given),
    schema: checkIdentifier(
      'postgres.schema',
      given.schema === undefined ? 'mersal' : given.schema,
    ),
    keepSentMs: checkKeepSentMs('postgres', given.keepSentMs),
    vacuumRows: checkNumber('postgres.vacuumRows', given.vacuumRows, {
      default: 20_000,
      min: 0,
      max: 100_000_000,
    }),
    isolation:
      isolation === undefined
        ? undefined
        : checkChoice(
            'postgres.isolation',
            isolation,
            ['read committed', 'repeatable read', 'serializable'] as const,
            isolation,
          ),
    retrySerialization: checkNumber('postgres.retrySerialization', given.retrySerialization, {
      default: 0,
      min: 0,
      max: 100,
    }),
    prepare: checkBoolean('postgres.prepare', given.prepare),
    listen: checkBoolean('postgres.listen', given.listen) ?? true,
    heartbeatMs: checkNumber('postgres.heartbeatMs', given.heartbeatMs, {
      default: 5000,
      min: 100,
      max: 60_000,
    }),
  }
}
