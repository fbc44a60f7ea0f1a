import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import type { UnitOptions } from '../../../core/store.ts'
import { openingError } from './access.ts'
import type { Handle, SqliteDatabase } from './database.ts'
import { commit, setUp } from './durability.ts'
import { type FileLock, lockOf, type Topic } from './file-lock.ts'
import { GroupCommit, type Job } from './group-commit.ts'
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

type Given = { readonly [Field in keyof UnitOptions]: UnitOptions[Field] | undefined }

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
  #opening: Promise<FileLock> | undefined
  #closed = false
  #unannounced: Topic | undefined

  constructor(name: string, settings: ConnectionSettings, tables: SqliteTables) {
    this.#name = name
    this.settings = settings
    this.#tables = tables
    this.#group = new GroupCommit(name, settings.busyTimeoutMs, {
      begin: () => this.#begin('full'),
      commit: (handle) => commit(this.#name, handle),
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

  /** Whether this handle works on the same database. */
  owns(handle: Handle): boolean {
    if (handle === this.#handle) return true
    return this.#lock !== undefined && handle.place !== '' && lockOf(handle) === this.#lock
  }

  /**
   * Runs the job in a transaction that is committed when this resolves. Jobs that wait at the same
   * time share one commit; one that throws fails alone.
   */
  async write<Result>(job: Job<Result>): Promise<Result> {
    const lock = await this.open()
    return this.#group.run(lock, job)
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

  /** One transaction around the function. See `UnitOfWork`. */
  async unit<Result>(
    work: (tx: SqliteDatabase) => Promise<Result>,
    given: UnitOptions = {},
  ): Promise<Result> {
    const lock = await this.open()
    const { busyTimeoutMs: patienceMs } = this.settings
    const { signal } = given
    const options = { patienceMs, unit: true, ...(signal === undefined ? {} : { signal }) }
    const result = await lock.run(() => this.#unit(work, given), options)
    this.#announce(lock)
    return result
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
    if (this.#lock !== undefined && this.#handle?.inTransaction === false)
      this.#announce(this.#lock)
  }

  /** Waits for what runs, then closes the handle unless it belongs to somebody else. */
  async close(): Promise<void> {
    if (this.#closed) return
    const opening = this.#opening
    this.#closed = true
    // A connection that could not be opened has nothing to close, and whoever opened it knows why.
    const lock = await opening?.catch(() => undefined)
    if (lock === undefined) return
    await lock.run(
      async () => {
        if (this.#handle !== undefined) closeOwn(this.settings.source, this.#handle)
        this.#handle = undefined
      },
      { patienceMs: this.settings.busyTimeoutMs },
    )
  }

  async #open(): Promise<FileLock> {
    const handle = connect(this.#name, this.settings.source)
    try {
      const lock = lockOf(handle)
      this.#handle = handle
      await lock.run(() => this.#prepare(handle), { patienceMs: this.settings.busyTimeoutMs })
      this.#lock = lock
      return lock
    } catch (error) {
      this.#handle = undefined
      closeOwn(this.settings.source, handle)
      throw error
    }
  }

  async #prepare(handle: Handle): Promise<void> {
    await this.#patiently(() => setUp(this.#name, handle, this.settings.synchronous))
    const { migrate } = this.settings
    if (!(await this.#patiently(() => isOutdated(handle, this.#tables, migrate)))) return
    await this.#begin('full')
    try {
      applyMigrations(handle, this.#tables, this.settings.clock.now())
      commit(this.#name, handle)
    } catch (error) {
      rollBack(handle)
      throw error
    }
  }

  async #unit<Result>(
    work: (tx: SqliteDatabase) => Promise<Result>,
    { signal, ended }: UnitOptions,
  ): Promise<Result> {
    const handle = await this.#begin(this.settings.synchronous, signal)
    const unit = unitHandle(handle, { shared: !('path' in this.settings.source) })
    try {
      const result = await this.#untilAborted(handle, unit, work(unit.tx), { signal, ended })
      signal?.throwIfAborted()
      unit.revoke()
      unit.assertWhole()
      commit(this.#name, handle)
      return result
    } catch (error) {
      unit.revoke()
      this.#unannounced = undefined
      if (handle !== this.#handle) throw error
      // Whoever has given us this handle may go on to use it by another name.
      if (signal?.aborted === true && 'database' in this.settings.source) await ended
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
  async #untilAborted<Result>(
    handle: Handle,
    unit: UnitHandle,
    work: Promise<Result>,
    { signal, ended }: Given,
  ): Promise<Result> {
    if (signal === undefined || 'database' in this.settings.source || handle.place === '')
      return work
    const { promise, reject } = Promise.withResolvers<never>()
    const giveUp = (): void => {
      // Closing rolls back. The next transaction connects again.
      this.#handle = undefined
      unit.revoke()
      closeUnderHands(handle, ended)
      reject(signal.reason)
    }
    if (signal.aborted) giveUp()
    else signal.addEventListener('abort', giveUp, { once: true })
    try {
      return await Promise.race([work, promise])
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  /**
   * What Mersal itself writes is durable before anything is made of it; only units of work may be
   * told to be less strict.
   */
  #begin(level: 'full' | 'normal', signal?: AbortSignal): Handle | Promise<Handle> {
    return this.#patiently(() => {
      const handle = this.#usable()
      if (handle.inTransaction) throw new ForeignTransaction()
      withoutWaiting(handle, () => {
        if (this.settings.synchronous === 'normal') setSynchronous(handle, level)
        handle.exec('BEGIN IMMEDIATE')
      })
      return handle
    }, signal)
  }

  #patiently<Result>(attempt: () => Result, signal?: AbortSignal): Result | Promise<Result> {
    const { busyTimeoutMs, random } = this.settings
    return patiently(this.#name, { busyTimeoutMs, random, signal }, attempt)
  }

  #usable(): Handle {
    if (this.#closed && this.#handle === undefined)
      throw new MersalError('MERSAL_STORE_FAILED', `${this.#name}: it has been closed`)
    if (this.#handle?.isOpen !== true) {
      // It was closed under the hands of a unit that was given up.
      this.#handle = connect(this.#name, this.settings.source)
      setSynchronous(this.#handle, this.settings.synchronous)
    }
    return this.#handle
  }

  #announce(lock: FileLock): void {
    const topic = this.#unannounced
    this.#unannounced = undefined
    if (topic !== undefined) lock.notify(topic)
  }
}
