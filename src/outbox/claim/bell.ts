import type { Clock } from '../../lib/async/clock.ts'

/**
 * Where the claim loop waits. A hint that comes while nobody waits is kept; a nudge only ends the
 * waiting.
 */
export interface Bell {
  readonly hinted: boolean
  /** There may be rows. */
  hint(): void
  /** Something changed: look at the state again. */
  nudge(): void
  /** The hint is being followed; a later one counts anew. */
  clear(): void
  /** Resolves after `ms`, or at the next hint or nudge; at once if there is a hint already. */
  wait(ms: number): Promise<void>
  /** Resolves after `ms` or at the next nudge; hints do not shorten it. */
  rest(ms: number): Promise<void>
}

export function createBell(clock: Clock): Bell {
  let hinted = false
  let resting = false
  /**
   * Aborted with a reason of ours: the default one is an error with a stack, for every look of a
   * busy relay.
   */
  let waiting: AbortController | undefined
  const sleep = async (ms: number): Promise<void> => {
    const controller = new AbortController()
    waiting = controller
    await clock.sleep(ms, controller.signal)
    waiting = undefined
  }
  return {
    get hinted() {
      return hinted
    },
    hint() {
      hinted = true
      if (!resting) waiting?.abort('rung')
    },
    nudge: () => waiting?.abort('rung'),
    clear() {
      hinted = false
    },
    async wait(ms) {
      if (!hinted) await sleep(ms)
    },
    async rest(ms) {
      resting = true
      await sleep(ms)
      resting = false
    },
  }
}
