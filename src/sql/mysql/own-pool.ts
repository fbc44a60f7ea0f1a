import { MersalError } from '../../core/errors/errors.ts'
import type { PoolUse } from '../../core/store.ts'
import type { MysqlPool, MysqlPoolConnection } from './client.ts'

/** utf8mb4_general_ci: of a connection whose texts are all ours. */
const UTF8MB4 = 45
/**
 * A connection of `mysql2` holds room for 16,000 prepared statements from its beginning, which is
 * half a MiB, and so does each try to connect. Of ours some ten are prepared.
 */
const PREPARED_STATEMENTS = 100
/** A server that answers lets its connections go at once; a frozen one never does. */
const LONGEST_END_MS = 400

/** What a pool of `mysql2` knows of itself; its promise face is a thin wrapper. */
interface CorePool {
  readonly config: CorePoolConfig
  readonly _freeConnections?: { readonly length: number }
  readonly _connectionQueue?: { readonly length: number }
  readonly _allConnections?: { readonly length: number; get(index: number): { destroy(): void } }
  promise(): MysqlPool
}

interface CorePoolConfig {
  readonly connectionConfig: CoreConfig
  readonly connectionLimit: number
  readonly resetOnRelease?: boolean
}

interface CoreConfig {
  readonly host?: unknown
  readonly port?: unknown
  readonly socketPath?: unknown
  readonly database?: unknown
  readonly queryFormat?: unknown
}

function coreOf(pool: MysqlPool): CorePool | undefined {
  const { pool: core } = pool as { pool?: CorePool }
  return typeof core?.promise === 'function' && typeof core.config?.connectionConfig === 'object'
    ? core
    : undefined
}

/** The database that the connections of this pool begin with; undefined if that is not known. */
export function databaseOf(pool: MysqlPool): string | undefined {
  const database = coreOf(pool)?.config.connectionConfig.database
  return typeof database === 'string' && database !== '' ? database : undefined
}

/** Most connections of the pool; undefined if there is no limit, or it is not known. */
export function limitOf(pool: MysqlPool): number | undefined {
  const limit = coreOf(pool)?.config.connectionLimit
  return typeof limit === 'number' && limit > 0 ? limit : undefined
}

/** How the pool is used; undefined if that is not known. */
export function useOf(pool: MysqlPool): PoolUse | undefined {
  const {
    _allConnections: all,
    _freeConnections: free,
    _connectionQueue: queue,
  } = coreOf(pool) ?? {}
  if (all === undefined || free === undefined || queue === undefined) return undefined
  return { open: all.length, idle: free.length, waiting: queue.length }
}

/** Whether the pool takes back what was set on a connection as soon as it is released. */
export function resetsOnRelease(pool: MysqlPool): boolean {
  return coreOf(pool)?.config.resetOnRelease === true
}

/** Whether the pool puts values into its statements in a way of the application. */
export function formatsValues(pool: MysqlPool): boolean {
  return typeof coreOf(pool)?.config.connectionConfig.queryFormat === 'function'
}

/** The same of a connection. */
export function formatsItself(connection: object): boolean {
  const { connection: core } = connection as { connection?: { config?: CoreConfig } }
  return typeof core?.config?.queryFormat === 'function'
}

/** One text per server, for hints between stores of one process; no secret. */
export function addressOf(pool: MysqlPool): string {
  const { host, port, socketPath } = coreOf(pool)?.config.connectionConfig ?? {}
  return `${String(socketPath ?? host)}:${String(port)}`
}

/**
 * A small pool of Mersal's own with the settings of the given one, so that its work goes on when
 * the application has used up its connections. How values are read does not come along. Throws
 * `MERSAL_INVALID_OPTIONS` unless the given pool is a promise pool of `mysql2`: what a class of
 * somebody else does with its settings is not known. `most`: connections; `where` begins the name
 * of the option in errors, and `instead` is the one to give then.
 */
export function ownPool(
  given: MysqlPool,
  {
    most,
    where,
    instead,
  }: { readonly most: number; readonly where: string; readonly instead: string },
): MysqlPool {
  const core = coreOf(given)
  if (core === undefined) {
    const field = `${where}.pool`
    throw new MersalError(
      'MERSAL_INVALID_OPTIONS',
      `${field}: this is no promise pool of 'mysql2' whose settings can be read; give '${instead}' as well, a second pool that leads to the same database`,
      { details: { field } },
    )
  }
  const made = new (core.constructor as new (options: object) => CorePool)({
    config: ownConfig(core.config, most),
  })
  const pool = made.promise()
  const end = pool.end.bind(pool)
  return Object.assign(pool, { end: () => endedWithin(made, end) })
}

function ownConfig(given: CorePoolConfig, most: number): object {
  const { connectionConfig } = given
  const config = Object.create(
    Object.getPrototypeOf(connectionConfig) as object,
    Object.getOwnPropertyDescriptors(connectionConfig),
  ) as object
  Object.assign(config, {
    pool: undefined,
    charsetNumber: UTF8MB4,
    typeCast: true,
    rowsAsArray: false,
    nestTables: undefined,
    namedPlaceholders: false,
    queryFormat: undefined,
    stringifyObjects: false,
    supportBigNumbers: false,
    bigNumberStrings: false,
    decimalNumbers: false,
    dateStrings: false,
    jsonStrings: false,
    maxPreparedStatements: PREPARED_STATEMENTS,
    enableKeepAlive: true,
  })
  return Object.assign(
    Object.create(Object.getPrototypeOf(given) as object) as object,
    given,
    { connectionConfig: config },
    { connectionLimit: most, maxIdle: most, queueLimit: 0, waitForConnections: true },
    { resetOnRelease: false },
  )
}

/** Connections that are still open after this time are destroyed. */
async function endedWithin(core: CorePool, end: () => Promise<void>): Promise<void> {
  const destroy = (): void => {
    const open = core._allConnections
    for (let index = (open?.length ?? 0) - 1; index >= 0; index--) open?.get(index).destroy()
  }
  const late = setTimeout(destroy, LONGEST_END_MS)
  try {
    await end()
  } finally {
    clearTimeout(late)
  }
}

const listened = new WeakSet<object>()

/**
 * Lends a connection. An `error` of it that nobody listens to would end the process: the pool
 * listens to the first one only.
 */
export async function lentBy(pool: MysqlPool): Promise<MysqlPoolConnection> {
  const lent = await pool.getConnection()
  const { connection } = lent as { connection?: { on?: (name: 'error', f: () => void) => void } }
  if (connection?.on !== undefined && !listened.has(connection)) {
    listened.add(connection)
    connection.on('error', () => {})
  }
  return lent
}
