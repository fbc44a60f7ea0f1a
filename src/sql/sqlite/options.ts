import { MersalError } from '../../core/errors/errors.ts'
import { checkChoice, checkNumber, checkOptions } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { isSqliteDatabase, type SqliteDatabase } from './connection/database.ts'
import type { MigrateMode } from '../shared/migrations.ts'
import { type DatabaseSettings, databaseSettings } from '../shared/options.ts'

/** What the store and the queue have in common. */
export interface SqliteConnectionOptions {
  /**
   * `full`: a commit survives a loss of power. `normal`: the last commits may be lost with the
   * power, always together with their messages; nothing is published before it is on the disk.
   * Default 'full'.
   */
  readonly synchronous?: 'full' | 'normal'
  /**
   * `before-answer`: a commit is brought to the disk before anybody is told of it, in another
   * thread, while the next transactions go on; so these may see it a moment before that.
   * `before-visible`: nobody sees it before, and the thread waits for the disk. Always
   * `before-visible` with `database`. Default 'before-answer'.
   */
  readonly flush?: 'before-answer' | 'before-visible'
  /**
   * How long to wait for other processes that write, in milliseconds. Then `MERSAL_STORE_BUSY`.
   * From 0 to 600,000. Default 5000.
   */
  readonly busyTimeoutMs?: number
  /**
   * `auto`: create and update the tables. `check`: throw unless they are up to date. `off`: trust.
   * Default 'auto'.
   */
  readonly migrate?: MigrateMode
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. Default `Math.random`. */
  readonly random?: Random
}

/** A path of a file (or `:memory:`), opened with `node:sqlite` and closed with its owner. */
export interface SqlitePath {
  readonly path: string
}

/**
 * Makes a connection with a library of yours, such as `() => new Database('app.db')` of
 * better-sqlite3: a new one at each call, for Mersal alone, which closes it. It is called again
 * when a unit that was given up had to be cut off.
 */
export interface SqliteOpener<Database extends SqliteDatabase> {
  readonly open: () => Database
}

/**
 * A handle that stays yours: Mersal neither opens nor closes it. Everything that uses it meanwhile
 * is part of the transaction that a unit has open on it: reads what is not committed, and loses
 * what it writes when the unit is rolled back. Nothing can tell. Prefer `path` or `open`.
 */
export interface SqliteHandle<Database extends SqliteDatabase> {
  readonly database: Database
}

export interface ConnectionSettings extends DatabaseSettings {
  readonly source: SqlitePath | SqliteOpener<SqliteDatabase> | SqliteHandle<SqliteDatabase>
  readonly synchronous: 'full' | 'normal'
  readonly flush: 'before-answer' | 'before-visible'
  readonly busyTimeoutMs: number
}

export const connectionOptions: readonly string[] = [
  'path',
  'open',
  'database',
  'synchronous',
  'flush',
  'busyTimeoutMs',
  'migrate',
  'logger',
  'clock',
  'random',
] satisfies (keyof SqliteConnectionOptions | 'path' | 'open' | 'database')[]

interface GivenSource {
  readonly path?: unknown
  readonly open?: unknown
  readonly database?: unknown
}

function checkSource(where: string, given: GivenSource): ConnectionSettings['source'] {
  const refuse = (field: string, text: string): MersalError =>
    new MersalError('MERSAL_INVALID_OPTIONS', `${where}.${field}: ${text}`, {
      details: { field: `${where}.${field}` },
    })
  const fields = (['path', 'open', 'database'] as const).filter(
    (field) => given[field] !== undefined,
  )
  if (fields.length > 1)
    throw refuse(fields[0] ?? 'path', "give one of 'path', 'open' and 'database', not both")
  if (given.open !== undefined) {
    if (typeof given.open !== 'function')
      throw refuse('open', 'expected a function that opens a connection')
    return { open: given.open as () => SqliteDatabase }
  }
  if (given.database !== undefined) {
    if (!isSqliteDatabase(given.database)) {
      throw refuse(
        'database',
        'expected a DatabaseSync of node:sqlite or a Database of better-sqlite3 >= 13',
      )
    }
    return { database: given.database }
  }
  if (typeof given.path !== 'string' || given.path === '' || given.path.includes('\0')) {
    throw refuse('path', "expected the path of a database file, or ':memory:'")
  }
  return { path: given.path }
}

/**
 * On a handle of somebody else he commits as well, at a moment and a level of his own.
 */
function checkFlush(
  where: string,
  given: unknown,
  source: ConnectionSettings['source'],
): ConnectionSettings['flush'] {
  const own = !('database' in source)
  const field = `${where}.flush`
  const choices = ['before-answer', 'before-visible'] as const
  const chosen = checkChoice(field, given, choices, own ? 'before-answer' : 'before-visible')
  if (chosen === 'before-visible' || own) return chosen
  const text = `${field}: 'before-answer' needs a connection of its own; give 'path' or 'open' instead of 'database'`
  throw new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field } })
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function connectionSettings(
  where: string,
  given: object,
  further: readonly string[],
): ConnectionSettings {
  checkOptions(where, given, [...connectionOptions, ...further])
  const options = given as SqliteConnectionOptions & GivenSource
  const source = checkSource(where, options)
  return {
    ...databaseSettings(where, options),
    source,
    flush: checkFlush(where, options.flush, source),
    synchronous: checkChoice(
      `${where}.synchronous`,
      options.synchronous,
      ['full', 'normal'] as const,
      'full',
    ),
    busyTimeoutMs: checkNumber(`${where}.busyTimeoutMs`, options.busyTimeoutMs, {
      default: 5000,
      min: 0,
      max: 600_000,
    }),
  }
}
