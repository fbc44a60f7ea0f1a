import type { Clock, Random } from './clock.ts'
import { type LinkedAbort, linkAbort } from './linked-abort.ts'

/** When something is looked after again that is looked after regularly. */
export interface Rounds {
  /** Resolves when the next round is due, or when `signal` aborts. Never rejects. */
  next(signal: AbortSignal): Promise<void>
  /**
   * Something has changed: the next round comes at once, and those after it sooner than usual.
   * While they do, this changes nothing, so that what changes in each round makes no busy loop.
   */
  hurry(): void
}

const SHORTEST_MS = 50

/** `everyMs`: between two rounds, give or take a quarter of it. */
export function rounds(clock: Pick<Clock, 'sleep'>, everyMs: number, random: Random): Rounds {
  let pauseMs = everyMs
  let waiting: LinkedAbort | undefined
  return {
    async next(signal) {
      const ms = pauseMs * (0.75 + random() / 2)
      pauseMs = Math.min(2 * pauseMs, everyMs)
      using woken = linkAbort(signal)
      waiting = woken
      await clock.sleep(ms, woken.signal)
      waiting = undefined
    },
    hurry() {
      if (pauseMs < everyMs) return
      pauseMs = SHORTEST_MS
      waiting?.abort('hurry')
    },
  }
}
