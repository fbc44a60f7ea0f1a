import { checkClock, checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import type { Pause } from '../../core/operations.ts'
import type { SagaRecord } from '../../core/records/sagas.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { nextTurn } from '../../lib/async/turn.ts'
import { BusinessData } from './unit/business-data.ts'
import type { DeadRows } from './dead-letters.ts'
import { Locks } from './unit/locks.ts'
import { OutboxTable } from './outbox-table.ts'

/** What is kept of one request. */
export interface OnceRow {
  readonly fingerprint: string
  readonly response: string | undefined
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** What the store is about to do when it calls `pause`. */
export type MemoryStep =
  | 'begin'
  | 'savepoint'
  | 'save'
  | 'cancel'
  | 'track'
  | 'saga'
  | 'once'
  | 'commit'
  | 'rollback'
  | 'claim'
  | 'settle'
  | 'prune'
  | 'read'
  | 'retry'

/** Options of `memoryDatabase()`. */
export interface MemoryDatabaseOptions {
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /**
   * How long a transaction waits for another one that holds a partition key or an inbox record, in
   * milliseconds. Then `MERSAL_STORE_BUSY`. From 0 to an hour. Default 5000.
   */
  readonly lockWaitMs?: number
  /**
   * For simulations: awaited before every step, where a database on a network would take its time.
   * Each step itself is one atomic piece. An error thrown here fails the step before it did
   * anything. Default: no pause.
   */
  readonly pause?: (step: MemoryStep) => Promise<void>
}

/** The rows that several stores of one process may share, as they would a database server. */
export interface MemoryDatabase {
  readonly name: 'memory'
}

/** The inside of a `MemoryDatabase`. */
export interface DatabaseState {
  readonly clock: Clock
  readonly lockWaitMs: number
  readonly pause: (step: MemoryStep) => Promise<void>
  readonly locks: Locks
  readonly data: BusinessData
  readonly outbox: OutboxTable
  readonly dead: DeadRows
  /** Number of the last dead letter. */
  deaths: number
  /** Consumer and message id → when it was handled, oldest first. */
  readonly tracked: Map<string, number>
  /** By app, saga and key, as JSON. */
  readonly sagas: Map<string, SagaRecord>
  /** By app, scope and key, as JSON. */
  readonly once: Map<string, OnceRow>
  /** By kind and name. */
  readonly pauses: Map<string, Pause>
  /** Called after a commit that brought rows, and when dead letters were put back. */
  readonly listeners: Set<() => void>
}

const states = new WeakMap<MemoryDatabase, DatabaseState>()

/**
 * A claim goes around the event loop, as with any real database, so that a busy relay starves
 * nobody.
 */
function pauseShortly(step: MemoryStep): Promise<void> {
  return step === 'claim' ? nextTurn() : Promise.resolve()
}

/**
 * Rows that several memory stores share: give it to each as `database`. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function memoryDatabase(options: MemoryDatabaseOptions = {}): MemoryDatabase {
  checkOptions('memoryDatabase', options, ['clock', 'lockWaitMs', 'pause'])
  const wait = { default: 5000, min: 0, max: 3_600_000 }
  const lockWaitMs = checkNumber('memoryDatabase.lockWaitMs', options.lockWaitMs, wait)
  if (options.pause !== undefined && typeof options.pause !== 'function')
    throw invalidOption('memoryDatabase.pause', 'expected a function')
  const clock = checkClock('memoryDatabase.clock', options.clock)
  const database: MemoryDatabase = { name: 'memory' }
  states.set(database, {
    clock,
    lockWaitMs,
    pause: options.pause ?? pauseShortly,
    locks: new Locks(clock),
    data: new BusinessData(),
    outbox: new OutboxTable(),
    dead: new Map(),
    deaths: 0,
    tracked: new Map(),
    sagas: new Map(),
    once: new Map(),
    pauses: new Map(),
    listeners: new Set(),
  })
  return database
}

export function stateOfDatabase(database: MemoryDatabase): DatabaseState | undefined {
  return states.get(database)
}

export function wakeAll(database: DatabaseState): void {
  for (const wake of database.listeners) wake()
}
