import { backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { Mutex } from '../../lib/async/mutex.ts'

/** Longest wait between two tries, so that work resumes within seconds of the broker's return. */
const backoff = { firstMs: 1500, longestMs: 3000 }
const SHORTEST_GAP_MS = 1000
/** So that the processes of a broker which has ended do not all come in the same moment. */
const LONGEST_FIRST_WAIT_MS = 100

/**
 * Spaces the tries of all links of one transport: one at a time, at most one a second after a
 * failure. The first one after the loss of a connection that has worked comes at once.
 */
export class Pace {
  readonly #clock: Clock
  readonly #random: Random
  readonly #mutex = new Mutex()
  #failures = 0
  #notBefore = 0

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** Runs the try when it is its turn. */
  async run<Result>(attempt: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    return this.#mutex.run(async () => {
      const wait = this.#notBefore - this.#clock.monotonic()
      if (wait > 0) await this.#clock.sleep(wait, signal)
      signal.throwIfAborted()
      try {
        const result = await attempt()
        this.#failures = 0
        return result
      } catch (error) {
        this.#failures++
        this.#pause(Math.max(backoffMs(backoff, this.#failures, this.#random), SHORTEST_GAP_MS))
        throw error
      }
    })
  }

  /** A connection was lost that had lived so long. One that hangs up at once must not storm. */
  lost(livedMs: number): void {
    const missing = Math.max(SHORTEST_GAP_MS - livedMs, 0)
    this.#pause(missing + LONGEST_FIRST_WAIT_MS * this.#random())
  }

  #pause(ms: number): void {
    this.#notBefore = Math.max(this.#notBefore, this.#clock.monotonic() + ms)
  }
}
