import { causesOf, readProperty } from '../../core/errors/causes.ts'
import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import { remedies, whatToDo } from '../server-remedies.ts'

/** Number of the error that the server sent; undefined: it did not send any. */
export function errorNumber(error: unknown): number | undefined {
  for (const cause of causesOf(error)) {
    const number = readProperty(cause, 'errno')
    // Those of the operating system are negative.
    if (typeof number === 'number' && number >= 1000) return number
  }
  return undefined
}

/**
 * By https://mariadb.com/kb/en/mariadb-error-code-reference/, as all numbers here: a deadlock; a row that has changed since the snapshot of the transaction, on MariaDB with
 * `innodb_snapshot_isolation`.
 */
const CONFLICTS: ReadonlySet<number | undefined> = new Set([1213, 1020])
const UNKNOWN_VARIABLE = 1193
const LOCK_WAIT = 1205
const TIMED_OUT = new Set([LOCK_WAIT, 1969, 3024, 1317])
const NO_ROOM = new Set([1040, 1203, 1226])
/** Unknown database, unknown table, unknown column. */
const MISSING = new Set([1049, 1146, 1054])
/** A check of a table: of MariaDB, and of MySQL. */
const CHECKS = new Set([4025, 3819])
/** The connection or the server went away, or takes no writes. */
const AWAY = new Set([1053, 1077, 1290, 1792, 1836, 1927, 2006, 2013, 3100])

/** The server has rolled the whole transaction back. */
export function isConflict(error: unknown): boolean {
  return CONFLICTS.has(errorNumber(error))
}

export function isUnknownVariable(error: unknown): boolean {
  return errorNumber(error) === UNKNOWN_VARIABLE
}

/** A statement that proves its transaction was refused by the check that it breaks on purpose. */
export function isUnproven(error: unknown): boolean {
  return (
    CHECKS.has(errorNumber(error) ?? 0) &&
    causesOf(error).some((cause) =>
      String(readProperty(cause, 'message')).includes('mersal_in_transaction'),
    )
  )
}

/**
 * Whether the server refused the statement itself, and would again. An outage, a lock or a full
 * disk is something else.
 */
function isRefused(number: number | undefined): boolean {
  if (number === undefined || AWAY.has(number) || NO_ROOM.has(number) || TIMED_OUT.has(number))
    return false
  // Disk full, out of memory, table full, temporary troubles of the engine.
  return !CONFLICTS.has(number) && ![1021, 1037, 1038, 1041, 1114, 1015, 1030].includes(number)
}

function missing(database: string, cause: unknown): MersalError {
  return new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `mysql: the tables of mersal are not in database '${database}', or are not the ones this version needs: open the store with migrate: 'auto', or run 'mersal migrate'. If that finds nothing to do, somebody has dropped one of them: restore it from a backup`,
    { cause, details: { schema: database, refused: true } },
  )
}

/**
 * No answer, no connection, or a server that takes no writes: it may be well soon. Everything else
 * needs a person.
 */
export function isOutOfReach(error: unknown): boolean {
  if (isMersalError(error, 'MERSAL_STORE_BUSY')) return true
  if (!isMersalError(error, 'MERSAL_STORE_FAILED') || error.cause === undefined) return false
  return error.details?.['refused'] !== true
}

/** For statements inside the user's transaction: his own errors stay as they are. */
export function explain(database: string, error: unknown): unknown {
  return MISSING.has(errorNumber(error) ?? 0) ? missing(database, error) : error
}

/** For statements on Mersal's own connections: always a `MersalError` with its cause. */
export function storeFailure(database: string, doing: string, error: unknown): MersalError {
  if (error instanceof MersalError) return error
  const number = errorNumber(error)
  if (MISSING.has(number ?? 0)) return missing(database, error)
  if (CONFLICTS.has(number)) {
    const text = `mysql: ${doing} met a conflicting transaction`
    return new MersalError('MERSAL_STORE_CONFLICT', text, { cause: error })
  }
  const late = readProperty(error, 'code') === 'PROTOCOL_SEQUENCE_TIMEOUT'
  if (late || TIMED_OUT.has(number ?? 0) || NO_ROOM.has(number ?? 0)) {
    const text = `mysql: ${doing} took too long or found no free connection`
    return new MersalError('MERSAL_STORE_BUSY', text, { cause: error })
  }
  const why = whatToDo(error, REMEDIES.get(number ?? 0))
  return new MersalError('MERSAL_STORE_FAILED', `mysql: ${doing} failed${why}`, {
    cause: error,
    details: number === undefined ? {} : { errorNumber: number, refused: isRefused(number) },
  })
}

const REMEDIES: ReadonlyMap<number, string> = new Map([
  [1045, remedies.login],
  [1698, remedies.login],
  [1044, remedies.right('user')],
  [1142, remedies.right('user')],
  [1143, remedies.right('user')],
  [1227, remedies.right('user')],
  [1021, remedies.full],
  [1114, remedies.full],
  [1290, remedies.readOnly],
  [1792, remedies.readOnly],
  [1836, remedies.readOnly],
])
