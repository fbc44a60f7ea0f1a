import { causesOf, readProperty } from './causes.ts'
import { type ErrorCode, isMersalError } from './errors.ts'
import { isAboutTls } from './tls-faults.ts'

/**
 * What an error says about the database behind it.
 *
 * - `away`: nobody could reach it, or it takes no work: down, starting, read-only, locked, full of
 *   connections, another password.
 * - `full`: it could not write. Small writes may succeed all the same.
 */
export type StoreFault = 'away' | 'full'

/**
 * SQLSTATE: connections (08), resources (53), shutdown and start (57P0), read-only, refused logins,
 * no such database.
 */
const STATES = /^(?:08[0-9A-Z]{3}|53[0-9A-Z]{3}|57P0[0-9A-Z]|25006|28P01|28000|3D000)$/

const words = (text: string): readonly string[] => text.split(' ')

const CODES = new Set(
  [
    words(
      'ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ETIMEDOUT ENOTFOUND EAI_AGAIN EHOSTUNREACH EHOSTDOWN',
    ),
    words('ENETUNREACH ENETDOWN EADDRNOTAVAIL EMFILE'),
    // postgres.js
    words('CONNECTION_CLOSED CONNECTION_ENDED CONNECTION_DESTROYED CONNECT_TIMEOUT'),
    // Prisma: no database, no answer, no login, a lost connection, a pool without a free one, too
    // many clients
    words('P1000 P1001 P1002 P1003 P1008 P1011 P1017 P2024 P2028 P2037'),
    // MySQL and MariaDB
    words(
      'PROTOCOL_CONNECTION_LOST PROTOCOL_SEQUENCE_TIMEOUT POOL_CLOSED ER_CON_COUNT_ERROR ER_TOO_MANY_USER_CONNECTIONS',
    ),
    words(
      'ER_SERVER_SHUTDOWN ER_OPTION_PREVENTS_STATEMENT ER_READ_ONLY_MODE ER_ACCESS_DENIED_ERROR ER_CONNECTION_KILLED',
    ),
  ].flat(),
)
const FULL_CODES = new Set(['53100', 'ENOSPC', 'EDQUOT', 'ER_DISK_FULL', 'ER_RECORD_FILE_FULL'])

/** Primary codes of SQLite: busy, locked, read-only, cannot open, protocol of locks. */
const SQLITE_AWAY = new Set([5, 6, 8, 14, 15])
/** Disk errors and a full disk. */
const SQLITE_FULL = new Set([10, 13])
const SQLITE_AWAY_NAME = /^SQLITE_(?:BUSY|LOCKED|READONLY|CANTOPEN|PROTOCOL)/
const SQLITE_FULL_NAME = /^SQLITE_(?:IOERR|FULL)/

const NAMES = new Set([
  'KnexTimeoutError',
  'PrismaClientInitializationError',
  'PrismaClientRustPanicError',
  'ConnectionException',
])
const SEQUELIZE =
  /^Sequelize(?:Connection\w*|HostNotFound|HostNotReachable|InvalidConnection|AccessDenied)Error$/

/** Messages of `pg` that come without a code. */
const WORDS =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Query read timeout|Cannot use a pool after)/

const OURS = [
  'MERSAL_STORE_BUSY',
  'MERSAL_STORE_FAILED',
  'MERSAL_SCHEMA_MISSING',
  'MERSAL_COMMIT_UNKNOWN',
] as const satisfies readonly ErrorCode[]

function faultOfOne(error: unknown): StoreFault | undefined {
  const code = readProperty(error, 'code')
  const errcode = readProperty(error, 'errcode')
  if (typeof errcode === 'number') {
    const primary = errcode & 0xff
    if (SQLITE_FULL.has(primary)) return 'full'
    if (SQLITE_AWAY.has(primary)) return 'away'
  }
  for (const text of [code, readProperty(error, 'sqlState')]) {
    if (typeof text !== 'string') continue
    if (FULL_CODES.has(text) || SQLITE_FULL_NAME.test(text)) return 'full'
    if (CODES.has(text) || STATES.test(text) || SQLITE_AWAY_NAME.test(text)) return 'away'
  }
  return isAboutTls(error) || saysAway(error) ? 'away' : undefined
}

function saysAway(error: unknown): boolean {
  const name = readProperty(error, 'name')
  if (typeof name === 'string' && (NAMES.has(name) || SEQUELIZE.test(name))) return true
  const message = readProperty(error, 'message')
  return typeof message === 'string' && WORDS.test(message)
}

/**
 * Whether the error, or one of its causes, shows that a database is away or full. The statement may
 * be ours or that of a handler, and the database may be another one than ours. Deadlocks,
 * serialization failures and time limits of statements do not count: they fail that one attempt.
 */
export function storeFaultOf(error: unknown): StoreFault | undefined {
  const fault = driverFaultOf(error)
  if (fault !== undefined) return fault
  return causesOf(error).some((one) => OURS.some((code) => isMersalError(one, code)))
    ? 'away'
    : undefined
}

/**
 * The same by the errors of the driver alone, without the codes of Mersal: not every failure of a
 * store is one of its database as a whole.
 */
export function driverFaultOf(error: unknown): StoreFault | undefined {
  const faults = causesOf(error).map(faultOfOne)
  return faults.includes('full') ? 'full' : faults.find((fault) => fault !== undefined)
}
