import { MersalError } from '../../core/errors/errors.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** How long a call waits for what the unit around it may hold, in milliseconds. */
const LONGEST_WAIT_MS = 10_000

export interface InsideCall {
  /** Name of the call in errors. */
  readonly what: string
  readonly clock: Clock
  /** The unit that is open in the same asynchronous context, if any. */
  readonly outer: { readonly open: boolean } | undefined
  /** Ends the waiting work. */
  readonly abort: (reason: Error) => void
}

/**
 * Runs work that may need what an open unit around it holds: the only writer, or the last
 * connection of a pool. If that unit awaits the work, both would wait for ever. Throws
 * `MERSAL_STORE_BUSY` after ten seconds, unless the work has called `got`.
 */
export async function boundedInside<Result>(
  call: InsideCall,
  work: (got: () => void) => Promise<Result>,
): Promise<Result> {
  const { outer, clock, what } = call
  if (outer?.open !== true) return work(() => {})
  const enough = new AbortController()
  const { promise: givenUp, reject } = Promise.withResolvers<never>()
  void clock.sleep(LONGEST_WAIT_MS, enough.signal).then(() => {
    if (enough.signal.aborted || !outer.open) return
    const error = waitsForOuter(what)
    call.abort(error)
    reject(error)
  })
  try {
    return await Promise.race([work(() => enough.abort('got it')), givenUp])
  } finally {
    enough.abort('over')
  }
}

function waitsForOuter(what: string): MersalError {
  const why = `${what} was called inside an open unit of this app, and waited ${LONGEST_WAIT_MS} ms for what that unit probably holds`
  const remedy =
    'pass { join: sender } to transaction() to be part of that unit, or call it after the unit has ended'
  return new MersalError(
    'MERSAL_STORE_BUSY',
    `${why}, such as the only writer or the last connection of the pool: ${remedy}`,
  )
}
