import { MersalError } from '../../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../../core/messages/message.ts'
import type { SagaInstance, SagaKey } from '../../../core/records/sagas.ts'
import { deepCopy } from '../../../lib/copy.ts'
import { DELETED, type DataView } from './business-data.ts'
import { type DatabaseState, type OnceRow, wakeAll } from '../database.ts'
import type { OutboxRow } from '../outbox-table.ts'

/**
 * The handle of a transaction: a small key-value table for business data. Values are copied on the
 * way in and out (`structuredClone`), and seen as they were when the transaction began. A call
 * throws `MERSAL_STORE_CONFLICT` when another commit has changed what it would have to show, and
 * `MERSAL_NOT_A_TRANSACTION` after the end of the transaction.
 */
export interface MemoryTransaction {
  /** `undefined` if there is none. */
  get(key: string): unknown
  /** `undefined` as the value deletes the key. */
  set(key: string, value: unknown): void
  delete(key: string): void
  /** Sorted by key; only keys that begin with the prefix, default all. */
  entries(prefix?: string): readonly (readonly [key: string, value: unknown])[]
}

/** A row that the transaction will add when it commits. */
export interface PendingRow {
  readonly position: number
  readonly message: OutgoingMessage
  /** When its delay ends, which counts from when it was saved; undefined: it has none. */
  readonly dueAt: number | undefined
  readonly express: { readonly token: string; readonly until: number } | undefined
}

/** The inside of a `MemoryTransaction`. */
export interface TransactionState {
  readonly database: DatabaseState
  readonly signal: AbortSignal | undefined
  readonly view: DataView
  readonly rows: PendingRow[]
  /** Rows of cancelled messages: they go with the commit. */
  readonly leaving: Set<OutboxRow>
  /**
   * Partition key → the token that all of its rows in this transaction were born claimed with;
   * undefined if one was not.
   */
  readonly keyTokens: Map<string, string | undefined>
  readonly tracked: Set<string>
  /** Key → what is to be kept of an instance; undefined if it goes. */
  readonly sagas: Map<string, (SagaKey & SagaInstance) | undefined>
  /** By app, scope and key, as JSON. */
  readonly once: Map<string, OnceRow>
  /** Names of the locks that it holds. */
  readonly held: Set<string>
  /** Why it can only be rolled back. */
  doomed: Error | undefined
  open: boolean
}

const states = new WeakMap<object, TransactionState>()

/**
 * The inside of an open transaction on this database; throws `MERSAL_NOT_A_TRANSACTION` for
 * anything else.
 */
export function openTransaction(database: DatabaseState, tx: unknown): TransactionState {
  const state = typeof tx === 'object' && tx !== null ? states.get(tx) : undefined
  if (state === undefined || state.database !== database) {
    throw new MersalError(
      'MERSAL_NOT_A_TRANSACTION',
      'expected a transaction of this memory store: the handle that its unit of work passes to the function',
    )
  }
  assertOpen(state)
  return state
}

export function stateOf(tx: MemoryTransaction): 'open' | 'failed' | 'over' {
  const state = states.get(tx)
  if (state?.open !== true) return 'over'
  return state.doomed === undefined ? 'open' : 'failed'
}

export function assertOpen(state: TransactionState): void {
  if (state.open) return
  throw new MersalError(
    'MERSAL_NOT_A_TRANSACTION',
    'this transaction has ended: use its handle only inside the function, and await every call',
  )
}

export function begin(
  database: DatabaseState,
  signal: AbortSignal | undefined,
): { tx: MemoryTransaction; state: TransactionState } {
  const state: TransactionState = {
    database,
    signal,
    view: database.data.begin(),
    rows: [],
    leaving: new Set(),
    keyTokens: new Map(),
    tracked: new Set(),
    sagas: new Map(),
    once: new Map(),
    held: new Set(),
    doomed: undefined,
    open: true,
  }
  const tx = makeHandle(state)
  states.set(tx, state)
  return { tx, state }
}

function makeHandle(state: TransactionState): MemoryTransaction {
  const { data } = state.database
  const write = (key: string, value: unknown): void => {
    assertOpen(state)
    state.view.written.set(key, value)
  }
  return {
    get: (key) => {
      assertOpen(state)
      return deepCopy(data.get(state.view, key))
    },
    set: (key, value) => write(key, value === undefined ? DELETED : deepCopy(value)),
    delete: (key) => write(key, DELETED),
    entries: (prefix = '') => {
      assertOpen(state)
      return deepCopy(data.entries(state.view, prefix))
    },
  }
}

/**
 * Takes a lock until the end of the transaction. A wait that times out fails the transaction, as in
 * a database.
 */
export async function lock(state: TransactionState, name: string): Promise<void> {
  const { locks, lockWaitMs } = state.database
  const granted = await locks.acquire(state, name, lockWaitMs, state.signal)
  if (granted && state.open) {
    state.held.add(name)
    return
  }
  if (granted) locks.release(state, name)
  assertOpen(state)
  // Whatever the function makes of it, the unit of work ends with this reason.
  state.signal?.throwIfAborted()
  const text = `another transaction holds what this one needs, and did not end within ${lockWaitMs} ms; keep transactions short`
  state.doomed = new MersalError('MERSAL_STORE_BUSY', text)
  throw state.doomed
}

/** Takes a lock until the end of the transaction, unless another one has it. */
export function tryLock(state: TransactionState, name: string): boolean {
  const taken = state.database.locks.tryAcquire(state, name)
  if (taken) state.held.add(name)
  return taken
}

/** Everything becomes visible in one step, or nothing does and the error says why. */
export async function commit(state: TransactionState): Promise<void> {
  const { database, view, rows, leaving } = state
  state.open = false
  try {
    await database.pause('commit')
    if (state.doomed !== undefined) {
      throw new MersalError(
        'MERSAL_ROLLED_BACK',
        'nothing was stored, since an error in this transaction was swallowed',
        {
          cause: state.doomed,
        },
      )
    }
    const { tracked, sagas, once } = state
    if (view.written.size + rows.length + leaving.size + tracked.size + sagas.size + once.size > 0)
      database.data.validate(view)
    database.data.apply(view)
    const now = database.clock.now()
    for (const key of tracked) database.tracked.set(key, now)
    for (const row of rows) addRow(database, row, now)
    for (const row of leaving) database.outbox.remove(row)
    for (const [name, saga] of sagas) keepSaga(database, name, saga, now)
    for (const [name, row] of once) database.once.set(name, row)
  } finally {
    end(state)
  }
  if (rows.length > 0 || leaving.size > 0) wakeAll(database)
}

function addRow(database: DatabaseState, row: PendingRow, now: number): void {
  database.outbox.add({
    position: row.position,
    message: row.message,
    addedAt: now,
    visibleAt: row.express?.until ?? row.dueAt ?? now,
    ...(row.dueAt === undefined ? {} : { dueAt: row.dueAt }),
    token: row.express?.token,
  })
}

function keepSaga(
  { sagas }: DatabaseState,
  name: string,
  saga: (SagaKey & SagaInstance) | undefined,
  now: number,
): void {
  const before = sagas.get(name)
  if (saga === undefined) sagas.delete(name)
  else sagas.set(name, { ...saga, createdAt: before?.createdAt ?? now, updatedAt: now })
}

export async function rollback(state: TransactionState): Promise<void> {
  state.open = false
  try {
    await state.database.pause('rollback')
  } finally {
    end(state)
  }
}

function end(state: TransactionState): void {
  const { database } = state
  database.data.end()
  for (const row of state.leaving) row.leaving = false
  for (const name of state.held) database.locks.release(state, name)
  state.held.clear()
}
