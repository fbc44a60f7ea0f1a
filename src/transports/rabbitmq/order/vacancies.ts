import type { Clock } from '../../../lib/async/clock.ts'

/** So long nobody reads a partition before another process takes it, in milliseconds. */
const FREE_FOR_MS = 700
/** The same after an outage of the broker, from which not all processes come back in one moment. */
const AFTER_OUTAGE_MS = 4000
/** So long who has lost it comes first. */
const MINE_FOR_MS = 10_000

/**
 * Which partitions that nobody reads this process may take. One that has lost a connection comes
 * back at once, and knows what it has begun; another one would take it for dead. So the others wait
 * for a moment, and those that have lost a connection too wait longer.
 */
export class Vacancies {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** Until when it comes first. */
  readonly #mine = new Map<string, number>()
  readonly #freeSince = new Map<string, number>()
  #patienceMs = 0
  #again = false
  #since = 0

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** There is a connection, the first one or another one. */
  connected(): void {
    this.#freeSince.clear()
    this.#patienceMs = this.#again ? AFTER_OUTAGE_MS : 0
    this.#again = true
    this.#since = this.#clock.monotonic()
  }

  /** All of them have been looked at. Who begins takes what is free. */
  looked(): void {
    const isOver = this.#clock.monotonic() - this.#since >= this.#patienceMs
    if (isOver) this.#patienceMs = FREE_FOR_MS
  }

  /** This process had it, and no other one was to have it. */
  lost(lock: string): void {
    this.#mine.set(lock, this.#clock.monotonic() + MINE_FOR_MS)
  }

  isMine(lock: string): boolean {
    return (this.#mine.get(lock) ?? 0) > this.#clock.monotonic()
  }

  /** Somebody reads under it. */
  taken(lock: string): void {
    this.#freeSince.delete(lock)
  }

  /** This process reads under it. */
  took(lock: string): void {
    this.#mine.delete(lock)
    this.#freeSince.delete(lock)
  }

  /** Nobody reads under it at this moment. True if this process may. */
  mayTake(lock: string): boolean {
    if (this.isMine(lock)) return true
    const now = this.#clock.monotonic()
    const since = this.#freeSince.get(lock) ?? now
    this.#freeSince.set(lock, since)
    return now - since >= this.#patienceMs
  }
}
