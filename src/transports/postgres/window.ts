/**
 * Where a fetch begins to look. Rows that wait behind the first one of their key are walked over,
 * so that a long backlog of one key would make every fetch dear. A cursor saves most of that: it
 * stands behind what has been looked at, and full looks from the bottom find everything else. The
 * order of a key never depends on it, only cost.
 */
export class Window {
  #cursor = 0n
  #wanted = false
  #notBefore = 0

  /** The position to look from; 0 means everything. Times are those of a monotonic clock. */
  plan(now: number): bigint {
    return now >= this.#notBefore ? 0n : this.#cursor
  }

  /** When the next full look should come; Infinity if none is wanted. */
  get fullAt(): number {
    return this.#wanted ? this.#notBefore : Infinity
  }

  /**
   * `end`: the last position there was. `highest`: the last one that was taken, if the look ended
   * there because hands were full.
   */
  looked(look: {
    readonly from: bigint
    readonly end: bigint
    readonly highest: bigint | undefined
    readonly startedAt: number
    readonly endedAt: number
  }): void {
    const { from, end, highest, startedAt, endedAt } = look
    this.#cursor = (highest ?? end) + 1n
    // What commits late has an earlier position, and what was held or not due is below the cursor.
    this.#wanted = from > 0n
    if (from === 0n)
      this.#notBefore = endedAt + Math.min((endedAt - startedAt) * REST_FACTOR, LONGEST_REST_MS)
  }

  /** Something below the cursor may be due. */
  wantFull(): void {
    this.#wanted = true
  }
}

/**
 * Full looks take at most a tenth of the time: after one, nine times its duration goes by, but
 * never more than this: only they find what a dead consumer held.
 */
const REST_FACTOR = 9
const LONGEST_REST_MS = 1000
