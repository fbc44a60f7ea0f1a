import type { CommitLog } from './commit-log.ts'
import type { DeadLetterBox } from './dead-letter.ts'
import type { OnceStore } from './records/once.ts'
import type { StoreOperations } from './operations.ts'
import type { OutboxStorage, Waker } from './outbox.ts'
import type { SagaStore } from './records/sagas.ts'
import type { MessageTracker } from './tracker.ts'
import type { GivingUp } from '../lib/async/linked-abort.ts'

/**
 * Runs the function in one database transaction: commits when it resolves, rolls back when it
 * throws, and then throws the same error. Resolves only if the commit really happened; a commit
 * whose answer was lost throws `MERSAL_COMMIT_UNKNOWN` and is never repeated. The function may run
 * again only after a certain rollback, and only if the user asked the store for that. The store
 * then passes 'after rollback' as the second argument. A repeat without it is refused.
 */
export type UnitOfWork<Tx> = <Result>(
  work: (tx: Tx, repeat?: 'after rollback') => Promise<Result>,
  options?: UnitOptions,
) => Promise<Result>

/** What a unit of work is told. */
export interface UnitOptions {
  /**
   * Gives the unit up: it is rolled back. What its function does later must reach no other
   * transaction. Default none.
   */
  readonly signal?: AbortSignal
  /**
   * Resolves when nothing of the function runs any more, which may be long after it was given up.
   * For a store that cannot take the handle away from it: until then nobody else may use that
   * handle. Default: when the function has ended.
   */
  readonly ended?: Promise<void>
  /**
   * As `signal`, for a store that wants to spare most units a signal, which is made when it is
   * first asked for. Default none.
   */
  readonly givingUp?: GivingUp
}

/** One database as Mersal sees it. */
export interface Store<Tx> extends AsyncDisposable {
  /** Shown in logs and errors, such as `sqlite` or `postgres`; no path, no secret. */
  readonly name: string
  readonly unitOfWork: UnitOfWork<Tx>
  readonly outbox: OutboxStorage<Tx>
  readonly tracker: MessageTracker<Tx>
  readonly admin: OutboxAdmin
  /** Hints from this database that there may be rows. */
  readonly wakers: readonly Waker[]
  /** Where what is committed can be read at once. */
  readonly commitLog?: CommitLog
  /** An app that uses it logs each of them as a warning when it starts. */
  readonly warnings?: readonly string[]
  /** For tools of operators. */
  readonly operations?: StoreOperations
  /**
   * Resolves if the database can be reached and written to at this moment, which it finds out by a
   * small write that nobody sees. Rejects if not. Without it, an app makes a record of the inbox in
   * a unit of work and rolls it back.
   */
  probe?(options: { readonly signal: AbortSignal }): Promise<void>
  /**
   * Lets several messages share one transaction. Without it, `batch` of a handler is refused.
   */
  readonly sharing?: SharedUnits<Tx>
  /** Where units of work take their connections from a pool of bounded size. */
  readonly units?: UnitCapacity
  /**
   * Savepoints in units of work. Without it, `savepoint()` is refused, and a message stays in its
   * unit after a rollback to a savepoint that the work has made itself.
   */
  readonly savepoints?: Savepoints<Tx>
  /** Keeps the state of sagas. Without it, `app.saga` is refused. */
  readonly sagas?: SagaStore<Tx>
  /** Keeps the answers of requests. Without it, `app.once` is refused. */
  readonly once?: OnceStore<Tx>
  /** Opens the database and brings its tables up to date. Repeating it changes nothing. */
  open(): Promise<void>
}

/** For a store whose unit of work runs one handler after the other in the same transaction. */
export interface SharedUnits<Tx> {
  /**
   * What is known of the transaction without asking the database; `failed`: it can only be rolled
   * back. Asked after each handler.
   */
  state(tx: Tx): 'open' | 'failed' | 'over'
  /**
   * Called inside the unit: takes what the store has put into the asynchronous context, and gives
   * it to work that runs in another one. A unit of work that keeps more there, such as a library's
   * current transaction, cannot be shared.
   */
  carry(): <Result>(work: () => Result) => Result
}

/** What a store knows of the connections that its units of work take. */
export interface UnitCapacity {
  /** Most units that can be open at a time; undefined if that is not known. */
  readonly most: number | undefined
  /** Why units may wait for ever, in words: they hold every connection, and more are asked for. */
  shortage(): string | undefined
  /** How the pool is used at this moment, where that is known. */
  use?(): PoolUse | undefined
}

/** Connections of a pool. */
export interface PoolUse {
  readonly open: number
  /** Of these, those that nobody uses. */
  readonly idle: number
  /** Callers that wait for one. */
  readonly waiting: number
}

/**
 * Savepoints inside a unit of work. The messages of a unit are numbered from 1, in the order in
 * which they are sent.
 */
export interface Savepoints<Tx> {
  /** Makes a savepoint. At most one is made or ended at a time, the youngest first. */
  open(tx: Tx): Promise<Savepoint>
  /**
   * Called when messages are sent: ties those up to this number, which are not tied yet, to
   * whatever savepoints the work has open, its own ones too. A promise, if there is one, never
   * rejects, and need not be awaited.
   */
  mark(tx: Tx, number: number): Promise<void> | undefined
  /**
   * Called before the messages are written: the numbers of those that no rollback to a savepoint
   * has taken along. Undefined: all of them. Throws `MERSAL_TRANSACTION_ENDED` if this is no longer
   * the transaction of the unit.
   */
  kept(tx: Tx): Promise<ReadonlySet<number> | undefined>
}

export interface Savepoint {
  /**
   * What was done since then stays. Rejects if the transaction has failed meanwhile: then only a
   * rollback is possible.
   */
  release(): Promise<void>
  /** What was done since then is undone, and the transaction may go on. */
  rollBack(): Promise<void>
}

/** What operators ask of an outbox. */
export interface OutboxAdmin {
  readonly deadLetters: DeadLetterBox
  stats(): Promise<OutboxStats>
}

export interface OutboxStats {
  /** Open rows: due, claimed, waiting for a retry or a delay. Without dead letters. */
  readonly pending: number
  /** Of these, rows that a relay or a writer holds at this moment. */
  readonly claimed: number
  readonly dead: number
  /** Age of the oldest row that is due and not claimed, in milliseconds; 0 if there is none. */
  readonly oldestDueMs: number
}
