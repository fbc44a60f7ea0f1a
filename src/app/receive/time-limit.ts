import type { Clock } from '../../lib/async/clock.ts'
import { abortable, type LinkedAbort, linkAbort } from '../../lib/async/linked-abort.ts'

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
  if (limit === undefined && signal !== undefined)
    return await abortable(signal, () => work(signal), onLate)
  using link = linkAbort(signal)
  using _timer = limit === undefined ? undefined : abortAfter(limit, link)
  return await abortable(link.signal, () => work(link.signal), onLate)
}

function abortAfter(limit: TimeLimit, link: LinkedAbort): Disposable {
  const done = new AbortController()
  void limit.clock.sleep(limit.ms, done.signal).then(() => {
    if (!done.signal.aborted) link.abort(limit.error())
  })
  // With a reason, since making the default one, an error with a stack, costs more than the rest.
  return { [Symbol.dispose]: () => done.abort('done') }
}
