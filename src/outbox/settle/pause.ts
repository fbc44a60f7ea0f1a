import type { Clock } from '../../lib/async/clock.ts'

/** One rest at a time, which what comes meanwhile may cut short. */
export interface Pause {
  /** Resolves after this many milliseconds, or earlier. */
  rest(ms: number): Promise<void>
  /** What is resting rests no longer than this. */
  shorten(ms: number): void
  end(): void
}

export function createPause(clock: Clock): Pause {
  let resting: { readonly over: AbortController; until: number } | undefined

  async function endAfter(ms: number, { over }: { readonly over: AbortController }): Promise<void> {
    await clock.sleep(ms, over.signal)
    over.abort('long enough')
  }

  return {
    async rest(ms) {
      const over = new AbortController()
      resting = { over, until: clock.monotonic() + ms }
      await clock.sleep(Math.max(ms, 0), over.signal)
      resting = undefined
    },
    shorten(ms) {
      const until = clock.monotonic() + ms
      if (resting === undefined || resting.until <= until) return
      resting.until = until
      void endAfter(ms, resting)
    },
    end: () => resting?.over.abort('hurry'),
  }
}
