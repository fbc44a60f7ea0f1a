import type { Clock } from '../../lib/async/clock.ts'
import type { Batch } from './batch.ts'

/** One timer for the deadlines of all batches, and none while there are no batches. */
export interface Deadlines {
  /** There is a batch. */
  watch(): void
  halt(): void
}

export interface DeadlinePorts {
  readonly clock: Clock
  readonly batches: ReadonlySet<Batch>
  readonly tickMs: number
  /** The time of the batch is over and some of it is still unanswered. */
  readonly onExpired: (batch: Batch) => void
  readonly onTick: (batch: Batch, now: number) => void
}

/**
 * What was handed over at the last moment must still have time for its answer, or it would be
 * published twice without any fault.
 */
function waitUntil({ publishUntil, keepUntil }: Batch['terms']): number {
  return (publishUntil + keepUntil) / 2
}

export function watchDeadlines({
  clock,
  batches,
  tickMs,
  onExpired,
  onTick,
}: DeadlinePorts): Deadlines {
  const halted = new AbortController()
  let watching = false

  function sweep(): void {
    const now = clock.monotonic()
    for (const batch of batches) {
      onTick(batch, now)
      if (now >= batch.terms.publishUntil && !batch.withdrawal.signal.aborted)
        batch.withdrawal.abort('late')
      if (now >= waitUntil(batch.terms) && !batch.controller.signal.aborted)
        batch.controller.abort()
      if (now >= batch.terms.keepUntil) onExpired(batch)
    }
  }

  async function loop(): Promise<void> {
    while (batches.size > 0 && !halted.signal.aborted) {
      await clock.sleep(tickMs, halted.signal)
      if (!halted.signal.aborted) sweep()
    }
    watching = false
  }

  return {
    watch() {
      if (watching || halted.signal.aborted) return
      watching = true
      void loop()
    },
    halt: () => halted.abort(),
  }
}
