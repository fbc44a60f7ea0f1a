import { AsyncLocalStorage } from 'node:async_hooks'
import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { MersalError } from '../../../core/errors/errors.ts'
import { type GivingUp, linkAbort } from '../../../lib/async/linked-abort.ts'
import type { Handle, SqliteLibrary } from './database.ts'
import { WalFlush } from './wal-flush.ts'

interface Turn {
  readonly lock: FileLock
  /** False once the unit is over, since what it started may still carry this record. */
  active: boolean
}

/** Which unit of work the current code runs in. Only to tell a deadlock from a wait. */
const current = new AsyncLocalStorage<readonly Turn[]>()

export interface LockOptions {
  readonly patienceMs: number
  /** The task is a unit of work: code that it calls runs inside. */
  readonly unit?: boolean
  readonly givingUp?: GivingUp | undefined
}

/** What is called inside a unit of work and does not go on before the unit has ended. */
export function waitsForItself(patienceMs: number): MersalError {
  return new MersalError(
    'MERSAL_STORE_BUSY',
    `waited ${patienceMs} ms inside an open unit of work on the same database file, probably for that very unit: ` +
      'pass { join: sender } to app.transaction() to be part of it, or do it after the unit has ended',
  )
}

/** Runs the function as if it had not been called inside any unit of work. */
export function outsideUnits<Result>(task: () => Result): Result {
  return current.run([], task)
}

/**
 * Takes the record of the units that the current code runs in to work in another asynchronous
 * context.
 */
export function carryUnits(): <Result>(work: () => Result) => Result {
  const turns = current.getStore() ?? []
  return (work) => current.run(turns, work)
}

/**
 * SQLite answers at once, so a chain of transactions would never let timers and sockets have their
 * turn. In milliseconds.
 */
const LONGEST_CHAIN_MS = 10

let lastTurn = 0

async function letOthersRun(): Promise<void> {
  if (performance.now() - lastTurn < LONGEST_CHAIN_MS) return
  await turnOfTheLoop()
  lastTurn = performance.now()
}

export type Topic = 'outbox' | 'queue'

/**
 * The one place of this process where writers of one database file queue, whatever handle they use.
 *
 * SQLite has a single writer. A unit of work holds it across `await`, so a second writer of the
 * same process has to wait without blocking the thread, or the first one could never end.
 */
export class FileLock {
  readonly library: SqliteLibrary
  /** For all connections of this process; undefined for a database in memory. */
  readonly wal: WalFlush | undefined
  readonly #waiting: (() => void)[] = []
  readonly #listeners: Readonly<Record<Topic, Set<() => void>>> = {
    outbox: new Set(),
    queue: new Set(),
  }
  #held = false

  /** `place`: path of the file, empty for a database in memory. */
  constructor(library: SqliteLibrary, place: string) {
    this.library = library
    this.wal = place === '' ? undefined : new WalFlush(place)
  }

  /**
   * True inside a unit of work on this file, where whoever waits for the lock may be waiting for
   * himself.
   */
  get inside(): boolean {
    return current.getStore()?.some((turn) => turn.active && turn.lock === this) ?? false
  }

  /**
   * Runs the task alone, in the order of asking. If it is given up while it waits, that throws the
   * reason. Inside a unit of work on the same file the waiting is bounded by `patienceMs`, then
   * `MERSAL_STORE_BUSY`.
   */
  async run<Result>(task: () => Promise<Result>, options: LockOptions): Promise<Result> {
    await (this.inside ? this.#acquireInside(options) : this.#acquire(options.givingUp))
    const turn: Turn = { lock: this, active: true }
    try {
      await letOthersRun()
      const outer = current.getStore()?.filter((other) => other.active) ?? []
      return await (options.unit === true ? current.run([...outer, turn], task) : task())
    } finally {
      turn.active = false
      this.#release()
    }
  }

  /**
   * Calls the listener after a commit of this process that concerns the topic. Returns how to end
   * that.
   */
  listen(topic: Topic, listener: () => void): () => void {
    // A function of its own, since the same listener may be given twice.
    const own = (): void => listener()
    this.#listeners[topic].add(own)
    return () => this.#listeners[topic].delete(own)
  }

  notify(topic: Topic): void {
    for (const listener of this.#listeners[topic]) listener()
  }

  async #acquireInside({ givingUp, patienceMs }: LockOptions): Promise<void> {
    using link = linkAbort(givingUp?.signal)
    const timer = setTimeout(() => link.abort(waitsForItself(patienceMs)), patienceMs)
    try {
      await this.#acquire(link)
    } finally {
      clearTimeout(timer)
    }
  }

  #acquire(givingUp: GivingUp | undefined): Promise<void> {
    if (givingUp?.aborted === true) return Promise.reject(givingUp.reason)
    if (!this.#held) {
      this.#held = true
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const start = (): void => {
        givingUp?.forget(giveUp)
        resolve()
      }
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1)
        reject(givingUp?.reason)
      }
      this.#waiting.push(start)
      givingUp?.follow(giveUp)
    })
  }

  #release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#held = false
    else next()
  }
}

/**
 * By real path. Entries stay for the life of the process: a few bytes per database that was ever
 * opened.
 */
const locks = new Map<string, FileLock>()
const memoryLocks = new WeakMap<object, FileLock>()

/** One name for a file, whatever path leads to it. */
export function realPlace(place: string): string {
  try {
    return realpathSync(place)
  } catch {
    // The file does not exist yet: SQLite creates it with the first write.
    return join(realpathSync(dirname(place)), basename(place))
  }
}

/**
 * The lock of the database that this handle has open. Throws `MERSAL_STORE_UNSAFE` if the file is
 * in use through another copy of SQLite in this process: when one copy closes the file, the
 * operating system drops the locks of the other (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
export function lockOf(handle: Handle): FileLock {
  if (handle.place === '') {
    let lock = memoryLocks.get(handle.native)
    if (lock === undefined)
      memoryLocks.set(handle.native, (lock = new FileLock(handle.library, '')))
    return lock
  }
  const place = realPlace(handle.place)
  let lock = locks.get(place)
  if (lock === undefined) locks.set(place, (lock = new FileLock(handle.library, place)))
  if (lock.library !== handle.library) {
    throw new MersalError(
      'MERSAL_STORE_UNSAFE',
      `this process has already opened the database file with ${lock.library}; opening it with ${handle.library} as well can corrupt it: ` +
        `use one library per file, for the store and the queue as well: open: () => new Database(path)`,
    )
  }
  return lock
}
