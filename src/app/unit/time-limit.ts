import type { Clock } from '../../lib/async/clock.ts'
import { type LinkedAbort, unlessAborted } from '../../lib/async/linked-abort.ts'

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
export function withTimeLimit<Result>(
  limit: TimeLimit | undefined,
  link: LinkedAbort,
  work: () => Promise<Result>,
  onLate: (error: unknown) => void,
): Promise<Result> {
  const running = (): Promise<Result> => unlessAborted(link, work, onLate)
  return limit === undefined ? running() : within(limit, link, running)
}

async function within<Result>(
  { ms, clock, error }: TimeLimit,
  link: LinkedAbort,
  running: () => Promise<Result>,
): Promise<Result> {
  const line = lineOf(clock, ms)
  const end = line.add(() => link.abort(error()))
  try {
    return await running()
  } finally {
    line.delete(end)
  }
}

interface End {
  /** In monotonic milliseconds. */
  readonly at: number
  readonly call: () => void
}

const lines = new WeakMap<Clock, Map<number, Line>>()

function lineOf(clock: Clock, ms: number): Line {
  let ofClock = lines.get(clock)
  if (ofClock === undefined) lines.set(clock, (ofClock = new Map()))
  let line = ofClock.get(ms)
  if (line === undefined) ofClock.set(ms, (line = new Line(clock, ms)))
  return line
}

/**
 * Limits of the same length, which end in the order in which they began. All of them share one
 * timer, since nearly all are taken back long before they end.
 */
class Line {
  readonly #clock: Clock
  readonly #ms: number
  readonly #ends = new Set<End>()
  #waiting: AbortController | undefined

  constructor(clock: Clock, ms: number) {
    this.#clock = clock
    this.#ms = ms
  }

  add(call: () => void): End {
    const end = { at: this.#clock.monotonic() + this.#ms, call }
    this.#ends.add(end)
    if (this.#waiting === undefined) void this.#wait((this.#waiting = new AbortController()))
    return end
  }

  delete(end: End): void {
    if (!this.#ends.delete(end) || this.#ends.size > 0) return
    // With a reason, since the default one is an error with a stack, which costs more than the rest.
    this.#waiting?.abort('nothing ends')
    this.#waiting = undefined
  }

  async #wait(waiting: AbortController): Promise<void> {
    for (let [first] = this.#ends; first !== undefined; [first] = this.#ends) {
      await this.#clock.sleep(Math.max(0, first.at - this.#clock.monotonic()), waiting.signal)
      if (waiting.signal.aborted) return
      this.#endAll()
    }
    this.#waiting = undefined
  }

  #endAll(): void {
    const now = this.#clock.monotonic()
    for (const end of this.#ends) {
      if (end.at > now) return
      this.#ends.delete(end)
      end.call()
    }
  }
}
