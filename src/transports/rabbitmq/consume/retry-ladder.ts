import { systemClock } from '../../../lib/async/clock.ts'
import { retryQueueOf } from '../topology/topology.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/**
 * Each retry queue has one waiting time for all its messages, since RabbitMQ expires messages only
 * at the head of a queue. A delay is rounded up to the next of these, by at most half of itself
 * from 200 ms on.
 */
export const retryDelaysMs: readonly number[] = [
  100,
  200,
  300,
  450,
  700,
  ...[1, 1.5, 2, 3, 4, 6, 8, 12, 18, 27, 40].map((seconds) => seconds * SECOND),
  ...[1, 1.5, 2, 3, 4, 6, 9, 13, 20, 30, 45].map((minutes) => minutes * MINUTE),
  ...[1, 1.5, 2, 3, 4, 6, 9, 13, 18, 24].map((hours) => hours * HOUR),
]

/**
 * How many steps above the right one may stand in for it. Three of them make a delay about three
 * times as long.
 */
const STAND_INS = 3
const PASSED_OVER_MS = 5 * MINUTE

/**
 * Chooses the retry queue for a delay. A queue that did not confirm in time is passed over for a
 * while: RabbitMQ 3.10 brings a quorum queue back that takes nothing, for good, when the node was
 * killed in the queue's first second, and retry queues are made in the middle of troubles.
 */
export class RetryLadder {
  readonly #silentUntil = new Map<string, number>()

  /**
   * The waiting time of the queue to take, in milliseconds. The longest one may be shorter than the
   * delay.
   */
  stepFor(queue: string, delayMs: number): number {
    const found = retryDelaysMs.findIndex((step) => step >= delayMs)
    const first = found === -1 ? retryDelaysMs.length - 1 : found
    const steps = retryDelaysMs.slice(first, first + 1 + STAND_INS)
    return steps.find((step) => !this.#isSilent(retryQueueOf(queue, step))) ?? (steps[0] as number)
  }

  silent(retryQueue: string): void {
    this.#silentUntil.set(retryQueue, systemClock.monotonic() + PASSED_OVER_MS)
  }

  confirmed(retryQueue: string): void {
    this.#silentUntil.delete(retryQueue)
  }

  #isSilent(retryQueue: string): boolean {
    return (this.#silentUntil.get(retryQueue) ?? 0) > systemClock.monotonic()
  }
}
