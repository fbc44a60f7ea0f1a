import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import type { UnitOptions } from '../../../core/store.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { openingError } from './access.ts'
import type { Handle, SqliteDatabase } from './database.ts'
import { commit, Flushing, setUp } from './durability.ts'
import { type FileLock, lockOf, type Topic } from './file-lock.ts'
import { GroupCommit, type Job, type WriteOptions } from './group-commit.ts'
import { applyMigrations, isOutdated, type SqliteTables } from '../migrate.ts'
import { closeOwn, closeUnderHands, connect } from './connect.ts'
import type { ConnectionSettings } from '../options.ts'
import { transactionEnded } from '../../units/transaction-words.ts'
import { type UnitHandle, unitHandle } from '../unit/unit-handle.ts'
import {
  ForeignTransaction,
  patiently,
  rollBack,
  setSynchronous,
  withoutWaiting,
} from './waiting.ts'
import { newRun, type UnitRun, untilGivenUp } from '../unit/unit-run.ts'

/**
 * One connection to one database file: opens it, runs units of work and groups of small jobs, each
 * in a `BEGIN IMMEDIATE` transaction, one at a time in this process and among processes.
 */
export class Connection {
  readonly settings: ConnectionSettings
  readonly #tables: SqliteTables
  readonly #name: string
  readonly #group: GroupCommit
  #handle: Handle | undefined
  #lock: FileLock | undefined
  readonly #flushing: Flushing
  #opening: Promise<FileLock> | undefined
  #closed = false
  #unannounced: Topic | undefined

  constructor(name: string, settings: ConnectionSettings, tables: SqliteTables) {
    this.#name = name
    this.settings = settings
    this.#tables = tables
    this.#flushing = new Flushing(name, settings)
    this.#group = new GroupCommit(name, settings.busyTimeoutMs, {
      begin: () => this.#begin('full'),
      commit: (handle) => commit(this.#name, handle),
      flushed: () => this.#flushing.done(),
      flushSoon: () => this.#flushing.soon(),
    })
  }

  /**
   * Opens the file and brings the tables up to date, once; tries again if it failed. Resolves to
   * the lock of the file.
   */
  open(): Promise<FileLock> {
    if (this.#closed)
      return Promise.reject(
        new MersalError('MERSAL_STORE_FAILED', `${this.#name}: it has been closed`),
      )
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw openingError(`${this.#name}: opening the database`, error, this.settings)
    })
    return this.#opening
  }

  /** The handle, once open. */
  get handle(): Handle | undefined {
    return this.#handle
  }

  /** The lock of the file, once open. */
  get lock(): FileLock | undefined {
    return this.#lock
  }

  /** Whether this handle works on the same database. */
  owns(handle: Handle): boolean {
    if (handle === this.#handle) return true
    return this.#lock !== undefined && handle.place !== '' && lockOf(handle) === this.#lock
  }

  /** Whether a unit on this handle is on the disk before anybody makes something of it. */
  makesDurable(handle: Handle): boolean {
    return this.#flushing.isDurable(handle, handle === this.#handle)
  }

  /**
   * Runs the job in a transaction that is committed and on the disk when this resolves. Jobs that
   * wait at the same time share one commit; one that throws fails alone.
   */
  async write<Result>(job: Job<Result>, options?: WriteOptions): Promise<Result> {
    const lock = await this.open()
    return this.#group.run(lock, job, options)
  }

  /** Reads outside any transaction, at once; undefined while that is impossible. Never throws. */
  peek<Result>(read: (handle: Handle) => Result): Result | undefined {
    if (this.#lock === undefined || this.#closed) return undefined
    try {
      const handle = this.#usable()
      return handle.inTransaction ? undefined : read(handle)
    } catch {
      // Only a hint is lost: whoever needs the answer asks again in a transaction, and sees the
      // error there.
      return undefined
    }
  }

  /**
   * One transaction around the function. See `UnitOfWork`. The next one begins while this one is
   * being flushed, and sees what it has written; so each of them answers only after a flush, those
   * too that have read and written nothing, or have failed.
   */
  async unit<Result>(
    work: (tx: SqliteDatabase) => Promise<Result>,
    given: UnitOptions = {},
  ): Promise<Result> {
    const lock = await this.open()
    const { busyTimeoutMs: patienceMs } = this.settings
    using run = newRun(given)
    const { givingUp } = run
    try {
      const options = { patienceMs, unit: true, givingUp }
      const result = await lock.run(() => this.#unit(work, run), options)
      await run.flushed
      if (run.topic !== undefined) lock.notify(run.topic)
      return result
    } catch (error) {
      // It may have failed because of something that it has read. Its own failure is the news; that
      // of the disk is told to whoever writes next.
      if (run.begun && !givingUp.aborted) await this.#flushing.done()?.catch(() => {})
      throw error
    }
  }

  /**
   * Notes that an open transaction holds something that others wait for; they are told after its
   * commit.
   */
  announceAfterCommit(handle: Handle, topic: Topic): void {
    if (handle === this.#handle) this.#unannounced = topic
  }

  /** Tells waiting loops of this process at once. */
  notify(topic: Topic): void {
    this.#lock?.notify(topic)
  }

  /** Tells waiting loops of this process about a transaction that its owner has ended himself. */
  announceEnded(): void {
    if (this.#lock === undefined || this.#handle?.inTransaction !== false) return
    const topic = this.#taken()
    if (topic !== undefined) this.#lock.notify(topic)
  }

  /** Waits for what runs, then closes the handle unless it belongs to somebody else. */
  async close(): Promise<void> {
    if (this.#closed) return
    const opening = this.#opening
    this.#closed = true
    // A connection that could not be opened has nothing to close, and whoever opened it knows why.
    const lock = await opening?.catch(() => undefined)
    if (lock === undefined) return
    this.#group.hurry(lock)
    await lock.run(
      async () => {
        if (this.#handle !== undefined) closeOwn(this.settings.source, this.#handle)
        this.#handle = undefined
      },
      { patienceMs: this.settings.busyTimeoutMs },
    )
    await this.#flushing.detach()
  }

  async #open(): Promise<FileLock> {
    const handle = connect(this.#name, this.settings.source)
    try {
      const lock = lockOf(handle)
      this.#handle = handle
      this.#flushing.attach(lock)
      await lock.run(() => this.#prepare(handle), { patienceMs: this.settings.busyTimeoutMs })
      this.#lock = lock
      return lock
    } catch (error) {
      this.#handle = undefined
      closeOwn(this.settings.source, handle)
      await this.#flushing.detach()
      throw error
    }
  }

  async #prepare(handle: Handle): Promise<void> {
    const own = !('database' in this.settings.source)
    const terms = { synchronous: this.#flushing.level, own }
    await this.#patiently(() => setUp(this.#name, handle, terms))
    const { migrate } = this.settings
    if (!(await this.#patiently(() => isOutdated(handle, this.#tables, migrate)))) return
    await this.#begin('full')
    try {
      applyMigrations(handle, this.#tables, this.settings.clock.now())
      commit(this.#name, handle)
      await this.#flushing.done()
    } catch (error) {
      rollBack(handle)
      throw error
    }
  }

  async #unit<Result>(
    work: (tx: SqliteDatabase) => Promise<Result>,
    run: UnitRun,
  ): Promise<Result> {
    const { givingUp } = run
    const handle = await this.#begin(this.settings.synchronous, givingUp)
    run.begun = true
    const unit = unitHandle(handle, { shared: !('path' in this.settings.source) })
    try {
      const result = await this.#untilGivenUp(handle, unit, work(unit.tx), run)
      if (givingUp.aborted) throw givingUp.reason
      unit.revoke()
      unit.assertWhole()
      commit(this.#name, handle)
      if (this.settings.synchronous === 'full') run.flushed = this.#flushing.done()
      run.topic = this.#taken()
      return result
    } catch (error) {
      unit.revoke()
      this.#unannounced = undefined
      if (handle !== this.#handle) throw error
      // Whoever has given us this handle may go on to use it by another name.
      if (givingUp.aborted && 'database' in this.settings.source) await run.options.ended
      const thrown =
        unit.ended && !isMersalError(error, 'MERSAL_TRANSACTION_ENDED')
          ? transactionEnded(this.#name, error)
          : error
      rollBack(handle)
      throw thrown
    }
  }

  /**
   * A function that goes on after its unit was given up must not write into later transactions. An
   * own handle is closed under its hands. A handle of somebody else cannot be: there the
   * transaction stays open until the function has ended, and is rolled back then.
   */
  #untilGivenUp<Result>(
    handle: Handle,
    unit: UnitHandle,
    work: Promise<Result>,
    { givingUp, options }: UnitRun,
  ): Promise<Result> {
    if ('database' in this.settings.source || handle.place === '') return work
    return untilGivenUp(work, givingUp, () => {
      // Closing rolls back. The next transaction connects again.
      this.#handle = undefined
      unit.revoke()
      closeUnderHands(handle, options.ended)
    })
  }

  /**
   * What Mersal itself writes is durable before anything is made of it; only units of work may be
   * told to be less strict. `level`: where SQLite flushes.
   */
  #begin(level: 'full' | 'normal', givingUp?: GivingUp): Handle | Promise<Handle> {
    return this.#patiently(() => {
      const handle = this.#usable()
      if (handle.inTransaction) throw new ForeignTransaction()
      withoutWaiting(handle, () => {
        this.#flushing.begin(handle, level)
        handle.exec('BEGIN IMMEDIATE')
      })
      return handle
    }, givingUp)
  }

  #patiently<Result>(attempt: () => Result, givingUp?: GivingUp): Result | Promise<Result> {
    const { busyTimeoutMs, random } = this.settings
    return patiently(this.#name, { busyTimeoutMs, random, givingUp }, attempt)
  }

  #usable(): Handle {
    if (this.#closed && this.#handle === undefined)
      throw new MersalError('MERSAL_STORE_FAILED', `${this.#name}: it has been closed`)
    if (this.#handle?.isOpen !== true) {
      // It was closed under the hands of a unit that was given up.
      this.#handle = connect(this.#name, this.settings.source)
      setSynchronous(this.#handle, this.#flushing.level)
    }
    return this.#handle
  }

  #taken(): Topic | undefined {
    const topic = this.#unannounced
    this.#unannounced = undefined
    return topic
  }
}
