import { isMersalError, MersalError } from '../../../core/errors/errors.ts'

/** Primary result codes, https://www.sqlite.org/rescode.html */
const BUSY = 5
const LOCKED = 6
const ERROR = 1
const READONLY = 8
const IOERR = 10
const FULL = 13
const CANTOPEN = 14
const TOOBIG = 18
const CONSTRAINT = 19
const MISMATCH = 20
const AUTH = 23
const NOTADB = 26

/** The database refused the statement itself, and would again. */
const REFUSALS: ReadonlySet<number | undefined> = new Set([
  ERROR,
  TOOBIG,
  CONSTRAINT,
  MISMATCH,
  AUTH,
])

const byName = new Map<string, number>([
  ['SQLITE_BUSY', BUSY],
  ['SQLITE_LOCKED', LOCKED],
  ['SQLITE_READONLY', READONLY],
  ['SQLITE_IOERR', IOERR],
  ['SQLITE_FULL', FULL],
  ['SQLITE_CANTOPEN', CANTOPEN],
  ['SQLITE_NOTADB', NOTADB],
  ['SQLITE_ERROR', ERROR],
  ['SQLITE_TOOBIG', TOOBIG],
  ['SQLITE_CONSTRAINT', CONSTRAINT],
  ['SQLITE_MISMATCH', MISMATCH],
  ['SQLITE_AUTH', AUTH],
])

/**
 * The primary result code of an error of either library, or undefined if it is no error of SQLite.
 */
function primaryCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { errcode, code } = error as { errcode?: unknown; code?: unknown }
  if (typeof errcode === 'number') return errcode & 0xff
  if (typeof code !== 'string' || !code.startsWith('SQLITE_')) return undefined
  return byName.get(code.split('_').slice(0, 2).join('_'))
}

/** An error that SQLite itself reported, through either library. */
export function isSqliteError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { errcode, code } = error as { errcode?: unknown; code?: unknown }
  return typeof errcode === 'number' || (typeof code === 'string' && code.startsWith('SQLITE_'))
}

/** Somebody else holds a lock that this needs; it may go well later. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error)
  return code === BUSY || code === LOCKED
}

/** Writing to the disk failed, so that a commit may or may not have reached it. */
export function isDiskFault(error: unknown): boolean {
  return primaryCode(error) === IOERR
}

const reasons = new Map<number, string>([
  [READONLY, 'the database cannot be written: the file or its folder is read-only'],
  [IOERR, 'reading or writing the disk failed'],
  [FULL, 'the database cannot grow: the disk or the database is full'],
  [CANTOPEN, 'the database file cannot be opened: check that its folder exists and may be written'],
])

/** The error that Mersal throws for an error of SQLite. Errors of Mersal pass unchanged. */
export function storeError(doing: string, cause: unknown): MersalError {
  if (isMersalError(cause)) return cause
  const code = primaryCode(cause)
  if (code === NOTADB)
    return new MersalError(
      'MERSAL_NOT_A_DATABASE',
      `${doing}: the file is not an SQLite database`,
      { cause },
    )
  if (isBusy(cause)) {
    return new MersalError(
      'MERSAL_STORE_BUSY',
      `${doing}: another connection holds the database; try again`,
      { cause },
    )
  }
  const reason =
    (code === undefined ? undefined : reasons.get(code)) ??
    'the database reported an error, see its cause'
  return new MersalError('MERSAL_STORE_FAILED', `${doing}: ${reason}`, {
    cause,
    details: REFUSALS.has(code) ? { refused: true } : {},
  })
}
