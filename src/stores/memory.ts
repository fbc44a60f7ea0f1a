import { MersalError } from '../core/errors/errors.ts'
import { checkBoolean, checkNumber, checkOptions } from '../core/options.ts'
import type { OutboxStorage, Waker } from '../core/outbox.ts'
import type { Store, UnitOfWork } from '../core/store.ts'
import { aborted } from '../lib/async/abort.ts'
import { memoryAdmin } from './memory/admin.ts'
import {
  type DatabaseState,
  type MemoryDatabase,
  memoryDatabase,
  type MemoryDatabaseOptions,
  stateOfDatabase,
} from './memory/database.ts'
import { memoryOnce } from './memory/once.ts'
import { memoryOperations } from './memory/operations.ts'
import { memoryOutbox } from './memory/outbox.ts'
import { memorySagas } from './memory/sagas.ts'
import { memorySavepoints } from './memory/unit/savepoints.ts'
import { memoryTracker } from './memory/tracker.ts'
import {
  begin,
  commit,
  stateOf,
  type MemoryTransaction,
  rollback,
} from './memory/unit/transaction.ts'

export {
  type MemoryDatabase,
  memoryDatabase,
  type MemoryDatabaseOptions,
  type MemoryStep,
} from './memory/database.ts'
export type { MemoryTransaction } from './memory/unit/transaction.ts'

/** Options of `memoryStore()`. */
export interface MemoryStoreOptions extends MemoryDatabaseOptions {
  /**
   * Rows that another store of this process shares. Default: a database of its own, made with the
   * other options.
   */
  readonly database?: MemoryDatabase
  /**
   * Sent rows are kept this long, in milliseconds, until `prune` removes them. 0 or more. Default
   * 0: they go at once.
   */
  readonly keepSentMs?: number
  /**
   * Everything is lost when the process ends. Say here that you know it, to run with
   * `NODE_ENV=production`. Default false.
   */
  readonly allowInProduction?: boolean
}

const known = ['clock', 'lockWaitMs', 'pause', 'database', 'keepSentMs', 'allowInProduction']

/**
 * A store that lives and dies with the process: for tests and for trying things out. Transactions
 * commit, roll back and are isolated like those of a database: rows are visible only after the
 * commit, a partition key is locked from `save` to the end of the transaction, and positions drawn
 * earlier may be committed later. Business data is on the transaction, see `MemoryTransaction`.
 *
 * Throws `MERSAL_STORE_UNSAFE` with `NODE_ENV=production`, and `MERSAL_INVALID_OPTIONS`.
 */
export function memoryStore(options: MemoryStoreOptions = {}): Store<MemoryTransaction> {
  checkOptions('memoryStore', options, known)
  refuseProduction(options)
  const keepSentMs = checkNumber('memoryStore.keepSentMs', options.keepSentMs, {
    default: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  })
  const database = stateFor(options)
  let closed = false
  const assertOpen = (): void => {
    if (closed) throw new MersalError('MERSAL_STORE_FAILED', 'this memory store has been closed')
  }
  return {
    name: 'memory',
    unitOfWork: unitOfWork(database, assertOpen),
    savepoints: memorySavepoints(database),
    sharing: { state: stateOf, carry: () => (work) => work() },
    outbox: guarded(memoryOutbox(database, keepSentMs), assertOpen),
    tracker: memoryTracker(database),
    sagas: memorySagas(database),
    once: memoryOnce(database),
    admin: memoryAdmin(database),
    operations: memoryOperations(database),
    wakers: [commitWaker(database)],
    open: async () => {
      await database.pause('begin')
      assertOpen()
    },
    [Symbol.asyncDispose]: () => {
      closed = true
      return Promise.resolve()
    },
  }
}

function stateFor({ database, clock, lockWaitMs, pause }: MemoryStoreOptions): DatabaseState {
  const wait = checkNumber('memoryStore.lockWaitMs', lockWaitMs, {
    default: 5000,
    min: 0,
    max: 3_600_000,
  })
  if (database !== undefined && (clock ?? lockWaitMs ?? pause) !== undefined) {
    throw invalidDatabase(
      "give 'clock', 'lockWaitMs' and 'pause' to memoryDatabase() instead, where all of its stores share them",
    )
  }
  const made = memoryDatabase({
    lockWaitMs: wait,
    ...(clock === undefined ? {} : { clock }),
    ...(pause === undefined ? {} : { pause }),
  })
  const state = stateOfDatabase(database ?? made)
  if (state === undefined) throw invalidDatabase('expected what memoryDatabase() has made')
  return state
}

function invalidDatabase(text: string): MersalError {
  const field = 'memoryStore.database'
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

function refuseProduction(options: MemoryStoreOptions): void {
  const allowed = checkBoolean('memoryStore.allowInProduction', options.allowInProduction) ?? false
  if (process.env['NODE_ENV'] !== 'production' || allowed) return
  throw new MersalError(
    'MERSAL_STORE_UNSAFE',
    'the memory store loses everything when the process ends: use a database in production, or set allowInProduction: true',
  )
}

function unitOfWork(
  database: DatabaseState,
  assertStoreOpen: () => void,
): UnitOfWork<MemoryTransaction> {
  return async (work, { signal } = {}) => {
    assertStoreOpen()
    signal?.throwIfAborted()
    await database.pause('begin')
    signal?.throwIfAborted()
    const { tx, state } = begin(database, signal)
    let result: Awaited<ReturnType<typeof work>>
    try {
      result = await work(tx)
      signal?.throwIfAborted()
    } catch (error) {
      await rollback(state)
      throw error
    }
    await commit(state)
    return result
  }
}

/**
 * The relay's calls fail once the store is closed; a transaction that is still open may end in
 * peace.
 */
function guarded(
  outbox: OutboxStorage<MemoryTransaction>,
  assertOpen: () => void,
): OutboxStorage<MemoryTransaction> {
  return {
    save: (tx, messages, options) => outbox.save(tx, messages, options),
    claim: async (request) => {
      assertOpen()
      return outbox.claim(request)
    },
    settle: async (settlements) => {
      assertOpen()
      return outbox.settle(settlements)
    },
    renew: async (claims, options) => {
      assertOpen()
      await outbox.renew?.(claims, options)
    },
    prune: async (options) => {
      assertOpen()
      return outbox.prune(options)
    },
    waiting: {
      upcoming: async (options) => {
        assertOpen()
        return (await outbox.waiting?.upcoming(options)) ?? []
      },
      cancel: async (tx, id) => (await outbox.waiting?.cancel?.(tx, id)) ?? 'unknown',
    },
  }
}

function commitWaker(database: DatabaseState): Waker {
  return async (wake, { signal }) => {
    // An own function, so that two relays may pass the same `wake`.
    const listener = (): void => wake()
    database.listeners.add(listener)
    try {
      await aborted(signal)
    } finally {
      database.listeners.delete(listener)
    }
  }
}
