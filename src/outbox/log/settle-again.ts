import { isLogToken } from '../../core/commit-log.ts'
import type { OutboxStorage, Settlement } from '../../core/outbox.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { inFlight } from '../../lib/async/in-flight.ts'

/** Waiting times before a settlement is repeated, in milliseconds. */
const AGAIN_MS: readonly number[] = [10, 30, 60, 100, 100, 200, 500, 1000]

type Settle = OutboxStorage<never>['settle']

export interface SettlingAgain {
  readonly settle: Settle
  /** Resolves when nothing is to be repeated. */
  idle(): Promise<void>
  /** Nothing more is repeated, and no timer is left. */
  halt(): void
}

/**
 * The log tells of a commit a moment before others can see it, and a settlement that comes as early
 * finds no row. The message would be published a second time. So what changed nothing is repeated,
 * beside the others, which must not wait for it.
 */
export function settlingAgain(settle: Settle, clock: Clock): SettlingAgain {
  const flight = inFlight()
  const halted = new AbortController()

  async function repeat(settlements: readonly Settlement[], stale: number): Promise<void> {
    let left = stale
    for (const ms of AGAIN_MS) {
      if (left === 0) return
      await clock.sleep(ms, halted.signal)
      if (halted.signal.aborted) return
      // What was changed before changes nothing more.
      left -= await settle(settlements).then(
        (again) => settlements.length - again.stale,
        () => 0, // a storage that fails is told by the others
      )
    }
  }

  return {
    async settle(settlements) {
      const result = await settle(settlements)
      const logged = settlements.filter(({ token }) => isLogToken(token))
      if (result.stale > 0 && logged.length > 0) {
        flight.enter(1)
        void repeat(logged, result.stale).finally(() => flight.leave(1))
      }
      return result
    },
    idle: () => flight.idle(),
    halt: () => halted.abort(),
  }
}
