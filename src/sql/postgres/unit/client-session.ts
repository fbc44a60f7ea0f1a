import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import { toError } from '../../../lib/async/abort.ts'
import { type GivingUp, linkAbort, unlessAborted } from '../../../lib/async/linked-abort.ts'
import type { UnitOfWork, UnitOptions } from '../../../core/store.ts'
import type { Logger } from '../../../core/telemetry.ts'
import type { Session, SqlExecutor } from '../../session.ts'
import type { PostgresClient, PostgresPool, PostgresPoolClient } from '../client.ts'
import { joins } from './flight/client.ts'
import { isConflict } from '../failure.ts'
import { statementName } from '../statement-name.ts'
import { ownTypes } from '../types.ts'
import { cutOff } from './cut-off.ts'
import { joinedTransaction, plainTransaction, type TransactionSettings } from './transaction.ts'
import { transactionEnded } from '../../units/transaction-words.ts'
import { capacityOf, hasIdle, holding } from './unit-capacity.ts'
import { unitHandle, unitHandleOf } from './unit-handle.ts'
import type { UnitNotes } from './unit-notes.ts'

export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

interface UnitSettings {
  /** Undefined: the default of the server. */
  readonly isolation: Isolation | undefined
  /** How often the work is run again after a serialization failure or a deadlock. */
  readonly retrySerialization: number
  readonly schema: string
  readonly notes: UnitNotes
  readonly logger: Logger
  /**
   * Whether statements may be prepared under a name, which a pooler in transaction mode may not
   * allow.
   */
  readonly prepares: () => boolean
  readonly bell: TransactionSettings['bell']
}

/** Transactions of `pg` itself: `tx` is its client. */
export function clientSession(
  pool: PostgresPool,
  settings: UnitSettings,
): Session<PostgresClient> & { readonly unitOfWork: UnitOfWork<PostgresClient> } {
  return {
    name: 'pg',
    executor: (tx) => clientExecutor(tx, settings.prepares()),
    unitOfWork: unitOfWork(pool, settings),
  }
}

const states = { T: 'open', E: 'failed', I: 'over' } as const

/**
 * What the client has heard of its transaction; of a connection that was lost it has heard nothing,
 * and its next statement fails.
 */
export function transactionState(tx: unknown): 'open' | 'failed' | 'over' {
  if (unitHandleOf(tx)?.ended() === true) return 'over'
  const status = (tx as PostgresClient).getTransactionStatus()
  return status === null ? 'failed' : states[status]
}

function clientExecutor(tx: PostgresClient, prepares: boolean): SqlExecutor {
  const status =
    typeof tx?.getTransactionStatus === 'function' ? tx.getTransactionStatus() : undefined
  if (status !== 'T' && status !== 'E') {
    throw new MersalError(
      'MERSAL_NOT_A_TRANSACTION',
      status === undefined
        ? "pg: expected a client of 'pg' that tells its transaction status (getTransactionStatus, pg 8.21); a pool has no transaction of its own"
        : 'pg: this client is not inside a transaction: run BEGIN and await it before, or use app.transaction()',
    )
  }
  return {
    query: (text, values = [], options) =>
      tx.query({
        ...(prepares && options?.often === true ? { name: statementName(text) } : {}),
        text,
        values: [...values],
        types: ownTypes,
      }),
  }
}

function unitOfWork(pool: PostgresPool, settings: UnitSettings): UnitOfWork<PostgresClient> {
  const { isolation } = settings
  const begin = isolation === undefined ? 'begin' : `begin isolation level ${isolation}`
  const all = { ...settings, begin }
  return async (work, options) => {
    for (let repeats = 0; ; repeats++) {
      throwIfGivenUp(options)
      try {
        const again = repeats === 0 ? undefined : 'after rollback'
        return await oneTransaction(pool, all, (tx) => work(tx, again), options)
      } catch (error) {
        if (repeats >= settings.retrySerialization || !isConflict(error)) throw error
      }
    }
  }
}

function throwIfGivenUp({ givingUp, signal }: UnitOptions = {}): void {
  if (givingUp === undefined) signal?.throwIfAborted()
  else if (givingUp.aborted) throw givingUp.reason
}

async function oneTransaction<Result>(
  pool: PostgresPool,
  settings: UnitSettings & TransactionSettings,
  work: (tx: PostgresClient) => Promise<Result>,
  options: UnitOptions | undefined,
): Promise<Result> {
  using own = options?.givingUp === undefined ? linkAbort(options?.signal) : undefined
  const givingUp = (options?.givingUp ?? own) as GivingUp
  const client = await connect(pool, settings, givingUp)
  using _held = holding(pool)
  let broken: Error | undefined
  // Without a listener, a connection that dies while the work waits for something else ends the
  // process.
  const onError = (error: Error): void => {
    broken ??= error
  }
  client.on('error', onError)
  const handle = unitHandle(client)
  const { tx } = handle
  try {
    using _cut = cutOff(client, givingUp)
    using transaction = joins(client)
      ? joinedTransaction(client, handle, settings)
      : await plainTransaction(client, handle, settings)
    let result: Result
    try {
      result = await work(tx)
    } catch (error) {
      handle.revoke()
      // A statement of work that was given up may still be under way: the connection is closed, and
      // the server rolls back.
      if (isMersalError(error, 'MERSAL_HANDLER_TIMEOUT') || givingUp.aborted)
        onError(toError(error))
      else await transaction.rollback().catch(onError)
      throw handle.ended() ? transactionEnded('postgres', error) : error
    }
    handle.revoke()
    if (handle.ended()) {
      await transaction.rollback().catch(onError)
      throw transactionEnded('postgres')
    }
    await transaction.commit(onError)
    return result
  } finally {
    handle.revoke()
    client.off('error', onError)
    // A connection in the middle of something must not be lent again.
    client.release(broken ?? client.getTransactionStatus() !== 'I')
  }
}

/** Whoever waits for a connection for longer is told why. */
const PATIENCE_MS = 5000

/** Waits for a connection no longer than the signal lets it; one that comes later goes back. */
async function connect(
  pool: PostgresPool,
  { logger }: UnitSettings,
  givingUp: GivingUp,
): Promise<PostgresPoolClient> {
  const capacity = capacityOf(pool)
  const connecting = pool.connect().catch((cause: unknown) => {
    const why = capacity.shortage()
    const text = `postgres: the pool gave no connection${why === undefined ? '' : `. ${why}`}`
    throw new MersalError('MERSAL_STORE_BUSY', text, { cause })
  })
  // The usual case costs nothing more.
  if (hasIdle(pool)) return await connecting
  const late = setTimeout(() => {
    const why = capacity.shortage()
    if (why !== undefined)
      logger.warn(
        { waitedMs: PATIENCE_MS },
        `postgres: a transaction waits for a connection. ${why}`,
      )
  }, PATIENCE_MS)
  try {
    return await unlessAborted(
      givingUp,
      () => connecting,
      () => {},
    )
  } catch (error) {
    connecting.then((client) => client.release()).catch(() => {})
    throw error
  } finally {
    clearTimeout(late)
  }
}
