import type { Clock } from '../lib/clock.ts'
import { abortable, linkAbort } from '../lib/linked-abort.ts'

export interface TimeLimit {
  readonly ms: number
  readonly clock: Clock
  /** What the work is aborted with when its time is up. */
  readonly error: () => Error
}

/**
 * Runs the work with a signal that aborts with the given one or when the time is up. Ends at that
 * moment, even if the work ignores its signal; `onLate` hears of what such work throws later.
 */
export async function withTimeLimit<Result>(
  limit: TimeLimit | undefined,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
  onLate: (error: unknown) => void,
): Promise<Result> {
  using link = linkAbort(signal)
  const done = new AbortController()
  if (limit !== undefined) {
    void limit.clock.sleep(limit.ms, done.signal).then(() => {
      if (!done.signal.aborted) link.abort(limit.error())
    })
  }
  try {
    return await abortable(link.signal, () => work(link.signal), onLate)
  } finally {
    done.abort()
  }
}
