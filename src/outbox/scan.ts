/**
 * Where a claim begins to look: a cursor saves walking over rows that wait, full scans from the
 * bottom find everything else. Neither order nor completeness depends on it, only cost.
 */
export interface Scan {
  /** The position to start from; undefined means a full scan. */
  plan(now: number): bigint | undefined
  /** Records what a claim found. `highest` is the highest position claimed; `full` that it reached its limit. */
  found(claim: { readonly from: bigint | undefined; readonly startedAt: number; readonly endedAt: number } & Found): void
  /** Rows below the cursor may have become free. */
  wantFull(): void
  /** The next claim is a full scan, whatever it costs. */
  forceFull(): void
  /** When the full scan that is wanted may run (monotonic); Infinity if none is wanted. */
  readonly fullAt: number
}

interface Found {
  readonly highest: bigint | undefined
  readonly full: boolean
}

/**
 * Full scans take at most a tenth of the time: after one, nine times its duration goes by; but never more
 * than this, since only they find the rows of a relay that has died, in 16 s at the most.
 */
const REST_FACTOR = 9
const LONGEST_REST_MS = 1000

export function createScan(): Scan {
  let cursor: bigint | undefined
  let wanted = false
  let forced = false
  let notBefore = 0
  return {
    get fullAt() {
      return wanted ? notBefore : Infinity
    },
    plan(now) {
      if (cursor !== undefined && !forced && now < notBefore) return cursor
      wanted = false
      forced = false
      return undefined
    },
    found({ from, startedAt, endedAt, highest, full }) {
      if (highest !== undefined) cursor = highest
      if (from === undefined) {
        notBefore = endedAt + Math.min((endedAt - startedAt) * REST_FACTOR, LONGEST_REST_MS)
        if (full) wanted = true
      } else if (!full) {
        wanted = true
      }
    },
    wantFull() {
      wanted = true
    },
    forceFull() {
      forced = true
    },
  }
}
