import type { Clock } from '../lib/async/clock.ts'

const WINDOW_MS = 60_000

/** Bounds the lines of one kind in each minute, and counts the others. */
export interface LineLimit {
  /** Whether this line is to be written. */
  admit(): boolean
  /** Tells what was left out, once its minute is over, or at once. */
  sum(now?: boolean): void
}

export function createLineLimit(
  clock: Clock,
  most: number,
  told: (leftOut: number) => void,
): LineLimit {
  let begun = -Infinity
  let written = 0
  let leftOut = 0
  function sum(atOnce = false): void {
    const now = clock.monotonic()
    if (!atOnce && now - begun < WINDOW_MS) return
    if (leftOut > 0) told(leftOut)
    begun = now
    written = leftOut = 0
  }
  return {
    sum,
    admit() {
      sum()
      if (written < most) return ++written > 0
      leftOut++
      return false
    },
  }
}
