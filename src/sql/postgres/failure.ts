import { MersalError } from '../../core/errors/errors.ts'
import { remedies, whatToDo } from '../server-remedies.ts'
import { numberTaken } from './sequence-errors.ts'
import { sqlState } from './sql-state.ts'

export { sqlState } from './sql-state.ts'

/**
 * The server aborted the transaction because of others: 40001 serialization failure, 40P01
 * deadlock.
 */
export function isConflict(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40001' || state === '40P01'
}

/**
 * Whether the server itself refused the COMMIT. Without its answer, and when it was being shut down
 * or the connection was lost (classes 57P and 08), nobody knows.
 */
export function refusedCommit(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && !state.startsWith('57P') && !state.startsWith('08')
}

/**
 * Whether the server refused the statement itself, and would again: what it was given, a
 * constraint, a missing right or table, a trigger. An outage, a lock or a full disk is something
 * else.
 */
export function isRefused(state: string | undefined): boolean {
  if (state === undefined || state === '55P03' || state === '55P04') return false
  return REFUSALS.has(state.slice(0, 2))
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const REFUSALS = new Set([
  '0A',
  '21',
  '22',
  '23',
  '2F',
  '38',
  '39',
  '3F',
  '42',
  '44',
  '54',
  '55',
  'P0',
])

/** Classes of the missing schema, table or function. */
const MISSING = new Set(['3F000', '42P01', '42883', '42703'])

function missing(schema: string, cause: unknown): MersalError {
  return new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `postgres: the tables of mersal are not in schema '${schema}', or are not the ones this version needs: open the store with migrate: 'auto', or run 'mersal migrate'. If that finds nothing to do, somebody has dropped one of them: restore it from a backup`,
    { cause, details: { schema, refused: true } },
  )
}

/**
 * For statements inside the user's transaction: his own errors stay as they are, a missing schema
 * is explained.
 */
export function explain(schema: string, error: unknown): unknown {
  const taken = numberTaken(schema, error)
  if (taken !== undefined) return taken
  return MISSING.has(sqlState(error) ?? '') ? missing(schema, error) : error
}

/**
 * For statements on Mersal's own connections: always a `MersalError`, with the error of the driver
 * as its cause.
 */
export function storeFailure(schema: string, doing: string, error: unknown): MersalError {
  if (error instanceof MersalError) return error
  const state = sqlState(error)
  if (MISSING.has(state ?? '')) return missing(schema, error)
  const taken = numberTaken(schema, error)
  if (taken !== undefined) return taken
  if (isConflict(error))
    return new MersalError(
      'MERSAL_STORE_CONFLICT',
      `postgres: ${doing} met a conflicting transaction`,
      { cause: error },
    )
  if (state === '55P03' || state === '57014' || state === '53300' || isPoolTimeout(error)) {
    return new MersalError(
      'MERSAL_STORE_BUSY',
      `postgres: ${doing} took too long or found no free connection`,
      { cause: error },
    )
  }
  const why = whatToDo(error, remedyOf(error, state))
  return new MersalError('MERSAL_STORE_FAILED', `postgres: ${doing} failed${why}`, {
    cause: error,
    details: state === undefined ? {} : { sqlState: state, refused: isRefused(state) },
  })
}

const REMEDIES: ReadonlyMap<string, string> = new Map([
  ['28P01', remedies.login],
  ['28000', remedies.admission],
  ['3D000', remedies.database],
  ['42501', remedies.right('role')],
  ['53100', remedies.full],
  ['25006', remedies.readOnly],
])

function remedyOf(error: unknown, state: string | undefined): string | undefined {
  // Of a right, PostgreSQL says also that it belongs to the owner alone.
  if (state === '42501' && /must be owner of/.test(messageOf(error)))
    return "only the owner of the tables may change them: run 'mersal migrate' as that role, and give the apps `migrate: 'check'`"
  const text = messageOf(error)
  if (/client password must be a string|no PostgreSQL user name specified/.test(text))
    return remedies.nobody
  if ((error as { code?: unknown } | undefined)?.code === 'ERR_INVALID_URL') return remedies.address
  return REMEDIES.get(state ?? '')
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : '')

function isPoolTimeout(error: unknown): boolean {
  return (
    error instanceof Error && error.message.startsWith('timeout exceeded when trying to connect')
  )
}
