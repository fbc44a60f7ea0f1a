import type { DeadReason } from '../../core/dead-letter.ts'
import { aborted } from '../../lib/async/abort.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { KeyHeads } from './key-heads.ts'
import type { QueueEntry } from './queue-entry.ts'

/** What became of an entry that was given up. */
export interface Rejection {
  readonly entry: QueueEntry
  readonly queue: MemoryQueue
  readonly reason: DeadReason
  readonly error: Error
}

interface Delayed {
  readonly entry: QueueEntry
  /** By the monotonic clock. */
  readonly dueAt: number
}

/**
 * Messages that wait, in the order in which they became due. Each is given to one consumer at a
 * time.
 */
export class MemoryQueue {
  readonly name: string
  readonly #clock: Clock
  /** From `#head` on. */
  #ready: QueueEntry[] = []
  #head = 0
  /** Sorted by time. */
  readonly #delayed: Delayed[] = []
  readonly #listeners = new Set<() => void>()
  /** Undefined: the order of keys is not kept. */
  #keys: KeyHeads | undefined

  constructor(name: string, clock: Clock) {
    this.name = name
    this.#clock = clock
  }

  /** Messages that are due now. */
  get ready(): number {
    this.#admitDue()
    return this.#ready.length - this.#head
  }

  /** Messages that nobody has, whether they are due or not. */
  get waiting(): number {
    return this.ready + this.#delayed.length + (this.#keys?.behind ?? 0)
  }

  /** From now on, of one key one message is ready, in hand or delayed at a time. */
  keepOrder(): void {
    if (this.#keys !== undefined) return
    const keys = (this.#keys = new KeyHeads())
    const delayed = this.#delayed.splice(0).filter(({ entry }) => keys.admits(entry))
    this.#delayed.push(...delayed)
    this.#ready = this.#ready.slice(this.#head).filter((entry) => keys.admits(entry))
    this.#head = 0
  }

  add(entry: QueueEntry): void {
    if (this.#keys?.admits(entry) !== false) this.#put(entry)
  }

  /** It has been handled or given up, so the next one of its key has its turn. */
  ended(entry: QueueEntry): void {
    const next = this.#keys?.after(entry)
    if (next !== undefined) this.#put(next)
  }

  /** To the front, as if it had never been taken. */
  giveBack(entry: QueueEntry): void {
    if (this.#keys?.admits(entry) === false) return
    if (this.#head > 0) this.#ready[--this.#head] = entry
    else this.#ready.unshift(entry)
    this.#wakeConsumers()
  }

  addLater(entry: QueueEntry, delayMs: number): void {
    if (this.#keys?.admits(entry) === false) return
    if (!(delayMs > 0)) return this.#put(entry)
    const dueAt = this.#clock.monotonic() + delayMs
    const earlier = this.#delayed.findLastIndex((other) => other.dueAt <= dueAt)
    this.#delayed.splice(earlier + 1, 0, { entry, dueAt })
    this.#wakeConsumers()
  }

  take(): QueueEntry | undefined {
    if (this.ready === 0) return undefined
    const entry = this.#ready[this.#head] as QueueEntry
    this.#head++
    if (this.#head > 1024 && this.#head * 2 > this.#ready.length) {
      this.#ready = this.#ready.slice(this.#head)
      this.#head = 0
    }
    return entry
  }

  /** Calls `ring` when there may be something to take, until the signal aborts. */
  async listen(ring: () => void, signal: AbortSignal): Promise<void> {
    this.#listeners.add(ring)
    await aborted(signal)
    this.#listeners.delete(ring)
  }

  /** Milliseconds until the next message falls due; Infinity if none waits for its time. */
  get nextDueMs(): number {
    return (this.#delayed[0]?.dueAt ?? Infinity) - this.#clock.monotonic()
  }

  #put(entry: QueueEntry): void {
    this.#ready.push(entry)
    this.#wakeConsumers()
  }

  #admitDue(): void {
    const now = this.#clock.monotonic()
    while (this.#delayed[0] !== undefined && this.#delayed[0].dueAt <= now) {
      this.#ready.push((this.#delayed.shift() as Delayed).entry)
    }
  }

  #wakeConsumers(): void {
    for (const ring of this.#listeners) ring()
  }
}
