import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import type { UnitCapacity, UnitOfWork } from '../../../core/store.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { abortable } from '../../../lib/async/linked-abort.ts'
import {
  type MysqlConnection,
  type MysqlPool,
  type MysqlPoolConnection,
  saysOpen,
} from '../../../sql/mysql/client.ts'
import { errorNumber, isConflict } from '../../../sql/mysql/failure.ts'
import { lentBy, limitOf, useOf } from '../../../sql/mysql/own-pool.ts'
import { type UnitHandle, unitHandle } from './unit-handle.ts'

export type Isolation = 'read committed' | 'repeatable read' | 'serializable' | 'server'

export interface UnitSettings {
  readonly isolation: Isolation
  /** How often the work is run again after a deadlock. */
  readonly retrySerialization: number
  readonly logger: Logger
  /** See `Server`. */
  readonly sameUnit: () => string
}

/** What is nearly answered is waited for; then the connection is closed. */
const LAST_ANSWER_MS = 250
/** Whoever waits for a connection for longer is told why. */
const PATIENCE_MS = 5000

/** Transactions of `mysql2` itself: `tx` is one of its promise connections. */
export function unitOfWork(pool: MysqlPool, settings: UnitSettings): UnitOfWork<MysqlConnection> {
  return async (work, options) => {
    for (let repeats = 0; ; repeats++) {
      options?.signal?.throwIfAborted()
      try {
        const again = repeats === 0 ? undefined : 'after rollback'
        return await oneTransaction(pool, settings, (tx) => work(tx, again), options?.signal)
      } catch (error) {
        if (repeats >= settings.retrySerialization || !isConflict(error)) throw error
      }
    }
  }
}

async function oneTransaction<Result>(
  pool: MysqlPool,
  settings: UnitSettings,
  work: (tx: MysqlConnection) => Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  const connection = await connect(pool, settings, signal)
  using _held = holding(pool)
  using cut = cutOff(connection, signal)
  const handle = unitHandle(connection, settings.sameUnit())
  let whole = false
  try {
    await begin(connection, settings)
    const result = await work(handle.tx)
    handle.revoke()
    await handle.assertWhole()
    await commit(connection)
    whole = true
    return result
  } catch (error) {
    handle.revoke()
    whole = !cut.aborted && (await endedWell(connection, handle, error))
    throw error
  } finally {
    // A connection in the middle of something must not be lent again.
    if (whole) connection.release()
    else connection.destroy()
  }
}

async function begin(connection: MysqlConnection, { isolation }: UnitSettings): Promise<void> {
  const begun =
    isolation === 'server'
      ? connection.query('start transaction')
      : Promise.all([
          connection.query(`set transaction isolation level ${isolation}`),
          connection.query('start transaction'),
        ]).then(([, answer]) => answer as unknown)
  if (saysOpen(await begun) === true) return
  throw new MersalError('MERSAL_STORE_FAILED', 'mysql: the server has begun no transaction')
}

/** Takes back what is open. False: nobody knows what is, so the connection must go. */
async function endedWell(
  connection: MysqlConnection,
  handle: UnitHandle,
  error: unknown,
): Promise<boolean> {
  if (
    isMersalError(error, 'MERSAL_COMMIT_UNKNOWN') ||
    isMersalError(error, 'MERSAL_HANDLER_TIMEOUT')
  )
    return false
  try {
    // Behind whatever the work has left under way.
    await handle.settled()
    return saysOpen(await connection.query('rollback and no chain no release')) === false
  } catch {
    return false
  }
}

/** The number of the server alone tells that a commit was refused; nothing else tells anything. */
async function commit(connection: MysqlConnection): Promise<void> {
  try {
    // The session may say of `commit` alone that it begins the next transaction.
    await connection.query('commit and no chain no release')
  } catch (cause) {
    if (isConflict(cause) || errorNumber(cause) === READ_ONLY) throw cause
    throw new MersalError(
      'MERSAL_COMMIT_UNKNOWN',
      'mysql: the answer to COMMIT was lost, so the transaction may or may not have happened; it was not repeated',
      { cause },
    )
  }
}

/** The server takes no writes, and so no commit of any. */
const READ_ONLY = 1290

/** Ends the waiting for a server that does not answer, a moment after the signal has aborted. */
function cutOff(
  connection: MysqlPoolConnection,
  signal: AbortSignal | undefined,
): Disposable & { readonly aborted: boolean } {
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    timer = setTimeout(() => connection.destroy(), LAST_ANSWER_MS)
  }
  if (signal?.aborted === true) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    get aborted() {
      return signal?.aborted === true
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

/** Waits for a connection no longer than the signal lets it; one that comes later goes back. */
async function connect(
  pool: MysqlPool,
  { logger }: UnitSettings,
  signal: AbortSignal | undefined,
): Promise<MysqlPoolConnection> {
  const capacity = capacityOf(pool)
  const connecting = lentBy(pool).catch((cause: unknown) => {
    throw new MersalError('MERSAL_STORE_BUSY', 'mysql: the pool gave no connection', { cause })
  })
  const late = setTimeout(() => {
    const why = capacity.shortage()
    if (why !== undefined)
      logger.warn({ waitedMs: PATIENCE_MS }, `mysql: a transaction waits for a connection. ${why}`)
  }, PATIENCE_MS)
  try {
    return await abortable(signal, () => connecting)
  } catch (error) {
    connecting.then((connection) => connection.release()).catch(() => {})
    throw error
  } finally {
    clearTimeout(late)
  }
}

/** Connections that units hold, by pool: several stores may share one. */
const held = new WeakMap<MysqlPool, number>()

function holding(pool: MysqlPool): Disposable {
  held.set(pool, (held.get(pool) ?? 0) + 1)
  return { [Symbol.dispose]: () => void held.set(pool, (held.get(pool) ?? 1) - 1) }
}

/** Of units whose connections come from this pool. */
export function capacityOf(pool: MysqlPool): UnitCapacity {
  return {
    get most() {
      return limitOf(pool)
    },
    use: () => useOf(pool),
    shortage() {
      const most = limitOf(pool)
      const units = held.get(pool) ?? 0
      if (most === undefined || units < most) return undefined
      return (
        `All ${most} connections of the pool are held by transactions of the app: ` +
        'work that takes a second connection of the same pool (pool.query) in its transaction may wait for itself. ' +
        'Use tx there, or give the pool more connections (connectionLimit)'
      )
    },
  }
}
