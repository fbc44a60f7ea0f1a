import type { Waker } from '../../core/outbox.ts'
import { aborted } from '../../lib/async/abort.ts'

/** Who listens for hints, by server and database: stores of one process share them. */
const listeners = new Map<string, Set<() => void>>()

/**
 * Hints between the stores of one process. MySQL notifies nobody, so that the relays of other
 * processes find rows by polling.
 */
export interface Bell {
  readonly ring: () => void
  readonly waker: Waker
}

export function bellOf(place: string): Bell {
  return {
    ring() {
      for (const wake of listeners.get(place) ?? []) wake()
    },
    async waker(wake, { signal }) {
      // An own function, so that two relays may pass the same `wake`.
      const listener = (): void => wake()
      const here = listeners.get(place) ?? new Set()
      listeners.set(place, here.add(listener))
      try {
        await aborted(signal)
      } finally {
        here.delete(listener)
        if (here.size === 0 && listeners.get(place) === here) listeners.delete(place)
      }
    },
  }
}
