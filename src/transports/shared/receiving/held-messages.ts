import type { Delivery, Disposition } from '../../../core/transport.ts'

/** Messages that have been taken. `more`: there may be more that is due now. */
export interface Taken<Message> {
  readonly messages: readonly Message[]
  readonly more: boolean
}

export type Reject = Extract<Disposition, { kind: 'reject' }>

/** A place whose messages are taken for a limited time, one holder at a time. */
export interface HeldMessages<Message> {
  /** Takes at most this many that are due, in their order. */
  take(limit: number): Promise<Taken<Message>>
  /** What the callback is asked; or what is done with the message without asking. */
  deliveryOf(message: Message, signal: AbortSignal): Delivery | Reject
  /** Holds these for the whole time again. Returns those that are still ours. */
  renew(messages: readonly Message[]): Promise<ReadonlySet<Message>>
  /**
   * Records what became of a message. Resolves when that is recorded, or the message turned out to
   * be no longer ours, or the queue is closed. Never rejects. Where a message that has gone makes
   * another one due, such as the next one of its key, it rings.
   */
  settle(message: Message, disposition: Disposition): Promise<void>
  /**
   * Calls `ring` when there may be something to take; resolves after `signal` has aborted.
   */
  listen(ring: () => void, signal: AbortSignal): Promise<void>
  /** Milliseconds until something falls due without a ring; Infinity if nothing is known to. */
  nextDueMs(): number
}
