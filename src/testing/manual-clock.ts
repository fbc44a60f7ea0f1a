import { checkNumber, checkOptions } from '../core/options.ts'
import type { Clock } from '../lib/async/clock.ts'
import { nextTurn } from '../lib/async/turn.ts'

/** A clock for tests: time stands still until `advance` moves it. */
export interface ManualClock extends Clock {
  /** Sleepers that wait at this moment. */
  readonly sleeping: number
  /**
   * Moves both clocks forward by `ms` milliseconds, and wakes the sleepers whose time has come, one
   * after the other in the order of their times. Between two of them the woken code runs on (one
   * turn of the event loop), so what it lets sleep again within the span is woken too. Calls queue
   * up.
   */
  advance(ms: number): Promise<void>
}

interface Sleeper {
  readonly dueAt: number
  readonly wake: () => void
}

/**
 * A `ManualClock`. `startAt` is what its wall clock shows first: milliseconds since the Unix epoch,
 * default 1 January 2026 UTC.
 */
export function manualClock(options: { readonly startAt?: number } = {}): ManualClock {
  checkOptions('manualClock()', options, ['startAt'])
  const year2026 = { default: Date.UTC(2026, 0, 1), min: 0, max: 8.64e15, integer: false }
  const startAt = checkNumber('manualClock().startAt', options.startAt, year2026)
  const sleepers: Sleeper[] = []
  let elapsed = 0
  let tail: Promise<void> = Promise.resolve()

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        const index = sleepers.indexOf(sleeper)
        if (index >= 0) sleepers.splice(index, 1)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const sleeper: Sleeper = { dueAt: elapsed + Math.max(ms, 0), wake: done }
      const later = sleepers.findIndex((other) => other.dueAt > sleeper.dueAt)
      sleepers.splice(later < 0 ? sleepers.length : later, 0, sleeper)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  async function moveTo(end: number): Promise<void> {
    await nextTurn()
    for (let next = sleepers[0]; next !== undefined && next.dueAt <= end; next = sleepers[0]) {
      elapsed = Math.max(elapsed, next.dueAt)
      next.wake()
      await nextTurn()
    }
    elapsed = end
  }

  return {
    get sleeping() {
      return sleepers.length
    },
    now: () => startAt + elapsed,
    monotonic: () => elapsed,
    sleep,
    advance(ms) {
      if (!(ms >= 0 && Number.isFinite(ms)))
        throw new RangeError(`advance: expected milliseconds from 0, got ${ms}`)
      tail = tail.then(() => moveTo(elapsed + ms))
      return tail
    },
  }
}
