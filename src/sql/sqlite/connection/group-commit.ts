import type { Handle } from './database.ts'
import { storeError } from './failure.ts'
import { type FileLock, outsideUnits, waitsForItself } from './file-lock.ts'
import { rollBack } from './waiting.ts'

/**
 * A piece of work inside a write transaction. It may run again after a rollback, so it changes
 * nothing but the database.
 */
export type Job<Result> = (handle: Handle) => Result

export interface WriteOptions {
  /**
   * Resolve with the commit, before it is on the disk. Only for what a loss of power may undo,
   * since all that comes of it is a repetition.
   */
  readonly repeatable?: boolean
  /** Called in the turn of the commit. */
  readonly committed?: () => void
  /** Wait for others for some milliseconds, to share their commit. Only for what nobody waits for. */
  readonly patient?: boolean
}

interface WaitingJob extends WriteOptions {
  readonly job: Job<unknown>
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

interface Transaction {
  begin(): Handle | Promise<Handle>
  commit(handle: Handle): void
  /** Resolves when what has been committed is on the disk; undefined: it is. */
  flushed(): Promise<void> | undefined
  /** Brings it there some time soon. */
  flushSoon(): void
}

/** So long, in milliseconds, a patient job waits for one that is not. */
const PATIENCE_MS = 4
/** Jobs that share one commit take the thread at most about this long, in milliseconds. */
const GROUP_MS = 20

/**
 * Puts jobs that wait at the same time into one transaction, since what costs is the flush to the
 * disk.
 */
export class GroupCommit {
  readonly #name: string
  readonly #patienceMs: number
  readonly #transaction: Transaction
  readonly #jobs: WaitingJob[] = []
  #running = false
  #timer: NodeJS.Timeout | undefined

  constructor(name: string, patienceMs: number, transaction: Transaction) {
    this.#name = name
    this.#patienceMs = patienceMs
    this.#transaction = transaction
  }

  /**
   * Resolves when the job has been committed and flushed. One that throws fails alone. Others begin
   * while it is being flushed.
   */
  run<Result>(lock: FileLock, job: Job<Result>, options: WriteOptions = {}): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const waiting = { ...options, job, resolve, reject }
      this.#jobs.push(waiting)
      if (lock.inside) setTimeout(() => this.#giveUp(waiting), this.#patienceMs)
      if (this.#running) return
      if (options.patient === true) this.#timer ??= setTimeout(() => this.hurry(lock), PATIENCE_MS)
      else this.hurry(lock)
    })
  }

  /** What waits begins now. */
  hurry(lock: FileLock): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (!this.#running && this.#jobs.length > 0) void outsideUnits(() => this.#runAll(lock))
  }

  /** A job that was asked for inside a unit of work and has not begun. */
  #giveUp(waiting: WaitingJob): void {
    const index = this.#jobs.indexOf(waiting)
    if (index < 0) return
    this.#jobs.splice(index, 1)
    waiting.reject(waitsForItself(this.#patienceMs))
  }

  async #runAll(lock: FileLock): Promise<void> {
    this.#running = true
    while (this.#jobs.length > 0) {
      try {
        await lock.run(() => this.#runGroup(), { patienceMs: this.#patienceMs })
      } catch (error) {
        this.#rejectAll(this.#jobs.splice(0), error)
      }
    }
    this.#running = false
  }

  async #runGroup(): Promise<void> {
    const begun = this.#transaction.begin()
    // No turn between BEGIN and COMMIT where it can be helped: whatever else runs in this process
    // would find the file locked.
    const handle = begun instanceof Promise ? await begun : begun
    const done: WaitingJob[] = []
    const results: unknown[] = []
    let current: WaitingJob | undefined
    try {
      const started = performance.now()
      while (
        performance.now() - started < GROUP_MS &&
        (current = this.#jobs.shift()) !== undefined
      ) {
        results.push(current.job(handle))
        done.push(current)
      }
      current = undefined
      this.#transaction.commit(handle)
    } catch (error) {
      rollBack(handle)
      return this.#afterFailure(done, current, error)
    }
    this.#answer(done, results)
  }

  #answer(done: readonly WaitingJob[], results: readonly unknown[]): void {
    for (const { committed } of done) committed?.()
    const resolve = (repeatable: boolean): void => {
      for (const [index, job] of done.entries())
        if ((job.repeatable === true) === repeatable) job.resolve(results[index] as never)
    }
    resolve(true)
    const others = done.filter(({ repeatable }) => repeatable !== true)
    if (others.length === 0) return this.#transaction.flushSoon()
    const flushing = this.#transaction.flushed()
    if (flushing === undefined) resolve(false)
    else
      void flushing.then(
        () => resolve(false),
        (error: unknown) => this.#rejectAll(others, error),
      )
  }

  /**
   * The one that threw gets its error, the others get another try without it. If the commit failed,
   * it failed for all.
   */
  #afterFailure(
    others: readonly WaitingJob[],
    failed: WaitingJob | undefined,
    error: unknown,
  ): void {
    if (failed === undefined) return this.#rejectAll(others, error)
    this.#rejectAll([failed], error)
    this.#jobs.unshift(...others)
  }

  #rejectAll(jobs: readonly WaitingJob[], error: unknown): void {
    for (const { reject } of jobs) reject(storeError(`${this.#name}: writing`, error))
  }
}
