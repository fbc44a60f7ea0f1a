import type { Consumption, Delivery, Disposition } from '../../core/transport.ts'
import { silentLogger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { nextTurn } from '../../lib/async/turn.ts'
import type { Breakable } from '../shared/consumers.ts'
import { type OnDelivery, postponedField } from '../shared/deliver.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import type { HeldMessages, Taken } from '../shared/receiving/held-messages.ts'
import type { MemoryQueue, Rejection } from './queue.ts'
import type { QueueEntry } from './queue-entry.ts'

/**
 * After this many deliveries in a row the event loop gets a turn, so that a long queue starves
 * nobody.
 */
const DELIVERIES_PER_TURN = 100

export interface ConsumerPorts {
  readonly queue: MemoryQueue
  readonly clock: Clock
  /** Told of messages that were given up. */
  readonly onRejected: (rejection: Rejection) => void
}

/** `breakOff` takes the messages away from the callbacks. */
export function startConsumer(
  { queue, clock, onRejected }: ConsumerPorts,
  consumption: Consumption,
  onDelivery: OnDelivery,
): Breakable {
  const entries = new Entries(queue, onRejected)
  const held = new HeldQueue<QueueEntry>(
    {
      name: 'memory queue',
      consumption,
      onDelivery,
      visibilityMs: Infinity,
      pollIntervalMs: Infinity,
      // Nothing here can fail.
      pause: { firstMs: 0, longestMs: 0 },
      logger: silentLogger,
      clock,
      random: () => 1,
    },
    () => entries,
  )
  return {
    async breakOff(reason) {
      entries.giveBack()
      await held.breakOff(reason)
    },
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  }
}

class Entries implements HeldMessages<QueueEntry> {
  readonly #queue: MemoryQueue
  readonly #onRejected: (rejection: Rejection) => void
  readonly #held = new Set<QueueEntry>()
  #deliveries = 0
  #closed = false

  constructor(queue: MemoryQueue, onRejected: (rejection: Rejection) => void) {
    this.#queue = queue
    this.#onRejected = onRejected
  }

  async take(limit: number): Promise<Taken<QueueEntry>> {
    if (this.#deliveries >= DELIVERIES_PER_TURN) {
      this.#deliveries = 0
      await nextTurn()
    }
    const messages: QueueEntry[] = []
    while (messages.length < limit && !this.#closed) {
      const entry = this.#queue.take()
      if (entry === undefined) break
      entry.attempts++
      this.#held.add(entry)
      messages.push(entry)
    }
    this.#deliveries += messages.length
    return { messages, more: this.#queue.ready > 0 }
  }

  deliveryOf({ message, attempts, postponedSince }: QueueEntry, signal: AbortSignal): Delivery {
    return {
      message: { ...message, headers: { ...message.headers }, body: message.body.slice() },
      queue: this.#queue.name,
      attempt: attempts,
      ...postponedField(postponedSince),
      signal,
    }
  }

  renew(entries: readonly QueueEntry[]): Promise<ReadonlySet<QueueEntry>> {
    return Promise.resolve(new Set(entries))
  }

  /** After `giveBack` the message belongs to somebody else, and no answer counts. */
  settle(entry: QueueEntry, disposition: Disposition): Promise<void> {
    if (this.#held.delete(entry)) this.#record(entry, disposition)
    return Promise.resolve()
  }

  listen(ring: () => void, signal: AbortSignal): Promise<void> {
    return this.#queue.listen(ring, signal)
  }

  nextDueMs(): number {
    return this.#queue.nextDueMs
  }

  /** All that is in hand, as if it had never been taken. */
  giveBack(): void {
    this.#closed = true
    // Each goes to the front, so the last one first keeps their order.
    for (const entry of [...this.#held].toReversed()) this.#queue.giveBack(entry)
    this.#held.clear()
  }

  #record(entry: QueueEntry, disposition: Disposition): void {
    switch (disposition.kind) {
      case 'ack':
        return this.#queue.ended(entry)
      case 'retry':
        if (disposition.postponedSince !== undefined) {
          entry.postponedSince = disposition.postponedSince
          entry.attempts--
        }
        return this.#queue.addLater(entry, disposition.delayMs)
      case 'release':
        entry.attempts--
        return this.#queue.giveBack(entry)
      case 'reject': {
        const { reason, error } = disposition
        this.#queue.ended(entry)
        return this.#onRejected({ entry, queue: this.#queue, reason, error })
      }
      default:
        return disposition satisfies never
    }
  }
}
