import type { Clock } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'

interface Waiter {
  readonly owner: object
  readonly granted: (yes: boolean) => void
}

interface Lock {
  owner: object
  readonly waiters: Waiter[]
}

/** Exclusive locks by name, granted in the order in which they were asked for. */
export class Locks {
  readonly #clock: Clock
  readonly #locks = new Map<string, Lock>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * True once the owner holds the lock; false when it did not get it within `waitMs` or before
   * `signal` aborted.
   */
  async acquire(
    owner: object,
    name: string,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const lock = this.#locks.get(name)
    if (lock === undefined) {
      this.#locks.set(name, { owner, waiters: [] })
      return true
    }
    if (lock.owner === owner) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const waiter: Waiter = { owner, granted: resolve }
    lock.waiters.push(waiter)
    using patience = linkAbort(signal)
    const giveUp = (): void => {
      const index = lock.waiters.indexOf(waiter)
      if (index < 0) return
      lock.waiters.splice(index, 1)
      resolve(false)
    }
    void this.#clock.sleep(waitMs, patience.signal).then(giveUp)
    const granted = await promise
    patience.abort('answered')
    return granted
  }

  /** Whether the owner holds the lock now; it does not wait. */
  tryAcquire(owner: object, name: string): boolean {
    const lock = this.#locks.get(name)
    if (lock === undefined) this.#locks.set(name, { owner, waiters: [] })
    return lock === undefined || lock.owner === owner
  }

  release(owner: object, name: string): void {
    const lock = this.#locks.get(name)
    if (lock === undefined || lock.owner !== owner) return
    const next = lock.waiters.shift()
    if (next === undefined) {
      this.#locks.delete(name)
      return
    }
    lock.owner = next.owner
    next.granted(true)
  }
}
