import { isLogToken } from '../../core/commit-log.ts'
import type { Settlement, SettleResult } from '../../core/outbox.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { inFlight } from '../../lib/async/in-flight.ts'

/** Waiting times before a settlement is repeated, in milliseconds. */
const AGAIN_MS: readonly number[] = [10, 30, 60, 100, 100, 200, 500, 1000]

type Settle = (settlements: readonly Settlement[]) => Promise<SettleResult>

/** What is known when a call has been answered. */
export interface Settled extends SettleResult {
  /** Settlements that have changed nothing yet, and are repeated; `stale` does not count them. */
  readonly open?: number
}

export interface SettlingAgain {
  readonly settle: (settlements: readonly Settlement[]) => Promise<Settled>
  /** Resolves when nothing is to be repeated. */
  idle(): Promise<void>
  /** Nothing more is repeated, and no timer is left. */
  halt(): void
}

/**
 * The log tells of a commit a moment before others can see it, and a settlement that comes as early
 * finds no row. The message would be published a second time. So what changed nothing is repeated,
 * beside the others, which must not wait for it. `ended`: what became of those that were open.
 */
export function settlingAgain(
  settle: Settle,
  clock: Clock,
  ended: (settlements: number, stale: number) => void,
): SettlingAgain {
  const flight = inFlight()
  const halted = new AbortController()

  async function repeat(settlements: readonly Settlement[], open: number): Promise<void> {
    let left = open
    for (const ms of AGAIN_MS) {
      if (left === 0) break
      await clock.sleep(ms, halted.signal)
      if (halted.signal.aborted) break
      // What was changed before changes nothing more.
      left -= await settle(settlements).then(
        (again) => settlements.length - again.stale,
        () => 0, // a storage that fails is told by the others
      )
    }
    ended(open, left)
  }

  return {
    async settle(settlements) {
      const result = await settle(settlements)
      const logged = settlements.filter(({ token }) => isLogToken(token))
      const open = Math.min(result.stale, logged.length)
      if (open > 0) {
        flight.enter(1)
        void repeat(logged, open).finally(() => flight.leave(1))
      }
      return { stale: result.stale - open, open }
    },
    idle: () => flight.idle(),
    halt: () => halted.abort(),
  }
}
