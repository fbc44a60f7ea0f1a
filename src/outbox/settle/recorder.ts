import type { Settlement } from '../../core/outbox.ts'
import { traced } from '../../core/traced.ts'
import type { Environment } from '../environment.ts'
import type { Settled, SettlingAgain } from '../log/settle-again.ts'

/** Calls `settle` of the storage, one call at a time. */
export interface Recorder {
  /** Since when a call has been waiting for its answer, in monotonic milliseconds. */
  readonly askedAt: number | undefined
  /** `messages`: how many these settlements are for. */
  record(settlements: readonly Settlement[], messages: number): Promise<Settled>
}

export function createRecorder(
  { app, clock }: Pick<Environment, 'app' | 'clock'>,
  storage: Pick<SettlingAgain, 'settle'>,
): Recorder {
  let askedAt: number | undefined
  return {
    get askedAt() {
      return askedAt
    },
    async record(settlements, messages) {
      askedAt = clock.monotonic()
      try {
        return await traced(
          'settle',
          () => ({ app, messages }),
          () => storage.settle(settlements),
          (facts, result) => (facts.stale = result.stale),
        )
      } finally {
        askedAt = undefined
      }
    },
  }
}
