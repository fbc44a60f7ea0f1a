import { AsyncLocalStorage } from 'node:async_hooks'
import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { MersalError } from '../../core/errors.ts'
import type { Handle, SqliteLibrary } from './database.ts'

interface Turn {
  readonly lock: FileLock
  /** False once the unit is over, since what it started may still carry this record. */
  active: boolean
}

/** Which unit of work the current code runs in. Only to tell a deadlock from a wait. */
const current = new AsyncLocalStorage<readonly Turn[]>()

export type Topic = 'outbox' | 'queue'

/**
 * The one place of this process where writers of one database file queue, whatever handle they use.
 *
 * SQLite has a single writer. A unit of work holds it across `await`, so a second writer of the same
 * process has to wait without blocking the thread, or the first one could never end.
 */
export class FileLock {
  readonly library: SqliteLibrary
  readonly #waiting: (() => void)[] = []
  readonly #listeners: Readonly<Record<Topic, Set<() => void>>> = { outbox: new Set(), queue: new Set() }
  #held = false

  constructor(library: SqliteLibrary) {
    this.library = library
  }

  /** Throws `MERSAL_STORE_BUSY` inside a unit of work on this file, where waiting would never end. */
  refuseInsideUnit(): void {
    const inside = current.getStore()?.some((turn) => turn.active && turn.lock === this) ?? false
    if (!inside) return
    throw new MersalError(
      'MERSAL_STORE_BUSY',
      'this was called inside a unit of work on the same database file and would wait for itself: ' +
        'use the transaction of that unit, or call it after the unit has ended',
    )
  }

  /** Runs the task alone, in the order of asking. A signal that aborts while it waits throws its reason. */
  async run<Result>(
    task: () => Promise<Result>,
    options: { readonly unit?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<Result> {
    this.refuseInsideUnit()
    await this.#acquire(options.signal)
    const turn: Turn = { lock: this, active: true }
    try {
      const outer = current.getStore()?.filter((other) => other.active) ?? []
      return await (options.unit === true ? current.run([...outer, turn], task) : task())
    } finally {
      turn.active = false
      this.#release()
    }
  }

  /** Calls the listener after a commit of this process that concerns the topic. Returns how to end that. */
  listen(topic: Topic, listener: () => void): () => void {
    this.#listeners[topic].add(listener)
    return () => this.#listeners[topic].delete(listener)
  }

  notify(topic: Topic): void {
    for (const listener of this.#listeners[topic]) listener()
  }

  #acquire(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    if (!this.#held) {
      this.#held = true
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal?.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#waiting.push(start)
    })
  }

  #release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#held = false
    else next()
  }
}

/** By real path. Entries stay for the life of the process: a few bytes per database that was ever opened. */
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
 * The lock of the database that this handle has open. Throws `MERSAL_STORE_UNSAFE` if the file is in
 * use through another copy of SQLite in this process: when one copy closes the file, the operating
 * system drops the locks of the other (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
export function lockOf(handle: Handle): FileLock {
  if (handle.place === '') {
    let lock = memoryLocks.get(handle.native)
    if (lock === undefined) memoryLocks.set(handle.native, (lock = new FileLock(handle.library)))
    return lock
  }
  const place = realPlace(handle.place)
  let lock = locks.get(place)
  if (lock === undefined) locks.set(place, (lock = new FileLock(handle.library)))
  if (lock.library !== handle.library) {
    throw new MersalError(
      'MERSAL_STORE_UNSAFE',
      `this process has already opened the database file with ${lock.library}; opening it with ${handle.library} as well can corrupt it: ` +
        `use one library per file, and hand its handle over as 'database'`,
    )
  }
  return lock
}
