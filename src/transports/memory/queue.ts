import type { DeadReason } from '../../core/dead-letter.ts'
import type { Envelope } from '../../core/messages/message.ts'
import { aborted } from '../../lib/async/abort.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** One message in one queue. */
export interface QueueEntry {
  readonly message: Envelope
  readonly partitionKey: string | undefined
  /** Deliveries so far. */
  attempts: number
  /** Since when its handler has been asking for it again later. */
  postponedSince?: number
}

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
    return this.ready + this.#delayed.length
  }

  add(entry: QueueEntry): void {
    this.#ready.push(entry)
    this.#wakeConsumers()
  }

  /** To the front, as if it had never been taken. */
  giveBack(entry: QueueEntry): void {
    if (this.#head > 0) this.#ready[--this.#head] = entry
    else this.#ready.unshift(entry)
    this.#wakeConsumers()
  }

  addLater(entry: QueueEntry, delayMs: number): void {
    if (!(delayMs > 0)) return this.add(entry)
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
