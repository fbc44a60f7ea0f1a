import type { Clock } from '../../lib/async/clock.ts'
import { abortable, type LinkedAbort } from '../../lib/async/linked-abort.ts'

export interface TimeLimit {
  readonly ms: number
  readonly clock: Clock
  /** Makes the error that the work is aborted with when its time is up. */
  readonly error: () => Error
}

/**
 * Runs the work, and aborts the link when the time is up. Ends as soon as the link has aborted,
 * even if the work ignores its signal. `onLate` gets the error that such work throws later.
 */
export async function withTimeLimit<Result>(
  limit: TimeLimit | undefined,
  link: LinkedAbort,
  work: () => Promise<Result>,
  onLate: (error: unknown) => void,
): Promise<Result> {
  using _timer = limit === undefined ? undefined : abortAfter(limit, link)
  return await abortable(link.signal, work, onLate)
}

function abortAfter(limit: TimeLimit, link: LinkedAbort): Disposable {
  const done = new AbortController()
  void limit.clock.sleep(limit.ms, done.signal).then(() => {
    if (!done.signal.aborted) link.abort(limit.error())
  })
  // With a reason, since the default one is an error with a stack, which costs more than the rest.
  return { [Symbol.dispose]: () => done.abort('done') }
}
