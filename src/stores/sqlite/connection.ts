import { DatabaseSync } from 'node:sqlite'
import { MersalError } from '../../core/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { type Handle, handleOf, type SqliteDatabase } from './database.ts'
import { isBusy, isDiskFault, storeError } from './failure.ts'
import { type FileLock, lockOf, type Topic } from './file-lock.ts'
import { applyMigrations, isOutdated, requireSchema, type Schema } from './migrate.ts'
import type { ConnectionSettings } from './options.ts'

/** A piece of work inside a write transaction. It may run again after a rollback, so it changes nothing but the database. */
export type Job<Result> = (handle: Handle) => Result

interface WaitingJob {
  readonly job: Job<unknown>
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

/** Jobs that share one commit take the thread at most about this long, in milliseconds. */
const GROUP_MS = 20
/** Waits for another process grow to this, in milliseconds. */
const LONGEST_WAIT_MS = 16

/**
 * One connection to one database file: opens it, runs units of work and groups of small jobs, each
 * in a `BEGIN IMMEDIATE` transaction, one at a time in this process and among processes.
 */
export class Connection {
  readonly settings: ConnectionSettings
  readonly #schema: Schema
  readonly #name: string
  readonly #jobs: WaitingJob[] = []
  #grouping = false
  #handle: Handle | undefined
  #lock: FileLock | undefined
  #opening: Promise<FileLock> | undefined
  #closed = false
  #unannounced: Topic | undefined

  constructor(name: string, settings: ConnectionSettings, schema: Schema) {
    this.#name = name
    this.settings = settings
    this.#schema = schema
  }

  /** Opens the file and brings the tables up to date, once; tries again if it failed. Resolves to the lock of the file. */
  open(): Promise<FileLock> {
    if (this.#closed) return Promise.reject(new MersalError('MERSAL_STORE_FAILED', `${this.#name}: it has been closed`))
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw storeError(`${this.#name}: opening the database`, error)
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
    lock.refuseInsideUnit()
    return new Promise<Result>((resolve, reject) => {
      this.#jobs.push({ job, resolve, reject })
      if (!this.#grouping) void this.#runGroups(lock)
    })
  }

  /** Reads outside any transaction, at once; undefined while that is impossible. Never throws. */
  peek<Result>(read: (handle: Handle) => Result): Result | undefined {
    if (this.#lock === undefined || this.#closed) return undefined
    try {
      const handle = this.#usable()
      return handle.inTransaction ? undefined : read(handle)
    } catch {
      // Only a hint is lost: whoever needs the answer asks again in a transaction, and sees the error there.
      return undefined
    }
  }

  /** One transaction around the function. See `UnitOfWork`. */
  async unit<Result>(work: (tx: SqliteDatabase) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    const lock = await this.open()
    const options = signal === undefined ? { unit: true } : { unit: true, signal }
    const result = await lock.run(() => this.#unit(work, signal), options)
    this.#announce(lock)
    return result
  }

  /** Notes that an open transaction holds something that others wait for; they are told after its commit. */
  announceAfterCommit(handle: Handle, topic: Topic): void {
    if (handle === this.#handle) this.#unannounced = topic
  }

  /** Tells waiting loops of this process about a transaction that its owner has ended himself. */
  announceEnded(): void {
    if (this.#lock !== undefined && this.#handle?.inTransaction === false) this.#announce(this.#lock)
  }

  /** Waits for what runs, then closes the handle unless it belongs to somebody else. */
  async close(): Promise<void> {
    if (this.#closed) return
    const opening = this.#opening
    this.#closed = true
    // A connection that could not be opened has nothing to close, and whoever opened it knows why.
    const lock = await opening?.catch(() => undefined)
    if (lock === undefined) return
    await lock.run(async () => {
      if ('path' in this.settings.source) this.#handle?.native.close()
      this.#handle = undefined
    })
  }

  async #open(): Promise<FileLock> {
    const handle = this.#connect()
    try {
      const lock = lockOf(handle)
      this.#handle = handle
      await lock.run(() => this.#prepare(handle))
      this.#lock = lock
      return lock
    } catch (error) {
      this.#handle = undefined
      if ('path' in this.settings.source) handle.native.close()
      throw error
    }
  }

  #connect(): Handle {
    const { source } = this.settings
    return handleOf('database' in source ? source.database : new DatabaseSync(source.path, { timeout: 0 }))
  }

  async #prepare(handle: Handle): Promise<void> {
    await this.#patiently(undefined, () => this.#setUp(handle))
    if (this.settings.migrate === 'off') return
    const outdated = await this.#patiently(undefined, () => isOutdated(handle, this.#schema))
    if (!outdated) return
    if (this.settings.migrate === 'check') return requireSchema(handle, this.#schema)
    await this.#begin('full')
    try {
      applyMigrations(handle, this.#schema, this.settings.clock.now())
      this.#commit(handle)
    } catch (error) {
      rollBack(handle)
      throw error
    }
  }

  /** Write-ahead log, so that readers never wait. */
  #setUp(handle: Handle): void {
    withoutWaiting(handle, () => {
      const mode = handle.get<{ journal_mode: string }>('PRAGMA journal_mode')?.journal_mode
      if (mode !== 'wal' && mode !== 'memory') {
        const changed = handle.get<{ journal_mode: string }>('PRAGMA journal_mode = WAL')?.journal_mode
        if (changed !== 'wal' && changed !== 'memory') {
          throw new MersalError(
            'MERSAL_STORE_UNSAFE',
            `${this.#name}: the database cannot use a write-ahead log here; use a local file system`,
          )
        }
      }
      setSynchronous(handle, this.settings.synchronous)
    })
  }

  async #unit<Result>(work: (tx: SqliteDatabase) => Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
    const handle = await this.#begin(this.settings.synchronous, signal)
    try {
      const result = await this.#untilAborted(handle, work(handle.native), signal)
      signal?.throwIfAborted()
      this.#commit(handle)
      return result
    } catch (error) {
      this.#unannounced = undefined
      if (handle === this.#handle) rollBack(handle)
      throw error
    }
  }

  /**
   * A function that goes on after its unit was given up must not write into later transactions. An
   * own handle is closed under its hands. A handle of somebody else cannot be: there the transaction
   * stays open until the function has ended, and is rolled back then.
   */
  async #untilAborted<Result>(handle: Handle, work: Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
    if (signal === undefined || !('path' in this.settings.source) || handle.place === '') return work
    const { promise, reject } = Promise.withResolvers<never>()
    const giveUp = (): void => {
      // Closing rolls back. The next transaction connects again.
      this.#handle = undefined
      handle.native.close()
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

  async #runGroups(lock: FileLock): Promise<void> {
    this.#grouping = true
    while (this.#jobs.length > 0) {
      try {
        await lock.run(() => this.#runGroup())
      } catch (error) {
        for (const { reject } of this.#jobs.splice(0)) reject(storeError(`${this.#name}: writing`, error))
      }
    }
    this.#grouping = false
  }

  async #runGroup(): Promise<void> {
    const handle = await this.#begin('full')
    const started = performance.now()
    const done: { readonly entry: WaitingJob; readonly result: unknown }[] = []
    let entry: WaitingJob | undefined
    try {
      while (performance.now() - started < GROUP_MS && (entry = this.#jobs.shift()) !== undefined) {
        done.push({ entry, result: entry.job(handle) })
      }
      entry = undefined
      this.#commit(handle)
    } catch (error) {
      rollBack(handle)
      return this.#afterFailure(
        done.map((each) => each.entry),
        entry,
        error,
      )
    }
    for (const { entry, result } of done) entry.resolve(result as never)
  }

  /** The one that threw gets its error. If the commit failed, all do; else the others get another try, without it. */
  #afterFailure(others: readonly WaitingJob[], failed: WaitingJob | undefined, error: unknown): void {
    const known = storeError(`${this.#name}: writing`, error)
    if (failed === undefined) for (const { reject } of others) reject(known)
    else {
      failed.reject(known)
      this.#jobs.unshift(...others)
    }
  }

  /** What Mersal itself writes is durable before anything is made of it; only units of work may be told to be less strict. */
  #begin(level: 'full' | 'normal', signal?: AbortSignal): Promise<Handle> {
    return this.#patiently(signal, () => {
      const handle = this.#usable()
      if (handle.inTransaction) throw new Busy()
      withoutWaiting(handle, () => {
        if (this.settings.synchronous === 'normal') setSynchronous(handle, level)
        handle.exec('BEGIN IMMEDIATE')
      })
      return handle
    })
  }

  #usable(): Handle {
    if (this.#closed && this.#handle === undefined) throw new MersalError('MERSAL_STORE_FAILED', `${this.#name}: it has been closed`)
    if (this.#handle === undefined) {
      this.#handle = this.#connect()
      setSynchronous(this.#handle, this.settings.synchronous)
    }
    return this.#handle
  }

  /** Repeats the attempt while another connection is in the way, without blocking the thread. Always in real time. */
  async #patiently<Result>(signal: AbortSignal | undefined, attempt: () => Result): Promise<Result> {
    const deadline = performance.now() + this.settings.busyTimeoutMs
    for (let wait = 1; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
      signal?.throwIfAborted()
      try {
        return attempt()
      } catch (error) {
        const busy = error instanceof Busy || isBusy(error)
        if (!busy || performance.now() >= deadline) throw busyError(this.#name, this.settings.busyTimeoutMs, busy, error)
      }
      await systemClock.sleep(wait / 2 + (wait / 2) * this.settings.random(), signal)
    }
  }

  #commit(handle: Handle): void {
    if (!handle.inTransaction) {
      throw new MersalError(
        'MERSAL_ROLLED_BACK',
        `${this.#name}: the transaction had already ended when the unit of work was to be committed: by a ROLLBACK or COMMIT inside it, or by an error of SQLite such as a full disk`,
      )
    }
    try {
      handle.exec('COMMIT')
    } catch (cause) {
      if (!isDiskFault(cause)) throw storeError(`${this.#name}: committing`, cause)
      throw new MersalError('MERSAL_COMMIT_UNKNOWN', `${this.#name}: the disk failed during the commit; it may or may not have happened`, {
        cause,
      })
    }
  }

  #announce(lock: FileLock): void {
    const topic = this.#unannounced
    this.#unannounced = undefined
    if (topic !== undefined) lock.notify(topic)
  }
}

/** The handle is inside a transaction that its owner began. */
class Busy extends Error {}

function busyError(name: string, ms: number, busy: boolean, cause: unknown): MersalError {
  if (!busy) return storeError(`${name}: beginning a transaction`, cause)
  return new MersalError('MERSAL_STORE_BUSY', `${name}: other writers held the database for more than ${ms} ms; keep transactions short`, {
    cause,
  })
}

function rollBack(handle: Handle): void {
  if (handle.inTransaction) handle.exec('ROLLBACK')
}

function setSynchronous(handle: Handle, level: 'full' | 'normal'): void {
  handle.exec(`PRAGMA synchronous = ${level === 'full' ? 'FULL' : 'NORMAL'}`)
}

/** SQLite's own waiting would block the thread, so it is off for this call; the owner of the handle keeps his setting. */
function withoutWaiting(handle: Handle, call: () => void): void {
  const before = handle.get<{ timeout: number }>('PRAGMA busy_timeout')?.timeout ?? 0
  if (before === 0) return call()
  handle.exec('PRAGMA busy_timeout = 0')
  try {
    call()
  } finally {
    handle.exec(`PRAGMA busy_timeout = ${before}`)
  }
}
