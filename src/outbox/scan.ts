/**
 * Where a claim begins to look, and how far it looks. Full scans, from the bottom to the end, find everything, but walk over
 * every row that waits for its key; so between them claims look at a stretch of rows only. Neither order nor
 * completeness depends on it, only cost.
 */
export interface Scan {
  plan(now: number): Look
  /** Records what a claim found. */
  found(claim: Found): void
  /** Rows anywhere may have become free: a full scan should see to it, and a look where rows were free lately. */
  wantFull(): void
  /** The next claim is a full scan, whatever it costs. */
  forceFull(): void
  /** When a look that is wanted may take place (monotonic); Infinity if none is wanted. */
  readonly nextAt: number
}

/**
 * - `full`: all rows.
 * - `front`: a stretch from the lowest row on that was free at the last full scan: there the keys go on whose rows were settled.
 * - `on`: a stretch behind the claim before, which was full.
 * - `tail`: a stretch behind the highest row ever claimed: there new rows arrive.
 */
export type Look = { readonly kind: 'full'; readonly from?: undefined } | { readonly kind: 'front' | 'on' | 'tail'; readonly from: bigint }

export interface Found {
  readonly look: Look
  readonly startedAt: number
  readonly endedAt: number
  /** Positions of the first and the last row; undefined without rows. */
  readonly lowest: bigint | undefined
  readonly highest: bigint | undefined
  /** It reached its limit. */
  readonly full: boolean
}

/**
 * Full scans take at most a tenth of the time: after one, nine times its duration goes by; but never more
 * than this, since only they are sure to find the rows of a relay that has died, in 16 s at the most.
 */
const FULL_REST_FACTOR = 9
const LONGEST_REST_MS = 1000
/** Looks at the front that found less than they could have taken: at most a quarter of the time. */
const FRONT_REST_FACTOR = 3
/** If full scans are as frequent as this, they find soon enough what has become free at the front. */
const SHORT_REST_MS = 25

export function createScan(): Scan {
  /** Of the last full scan that found something. */
  let low: bigint | undefined
  let high: bigint | undefined
  /** The claim before was full, so that this one goes on from there. */
  let goesOn: Look | undefined
  let [fullWanted, frontWanted, forced] = [false, false, false]
  let [fullFrom, frontFrom] = [0, 0]
  let shortRest = true

  function foundByFull({ startedAt, endedAt, lowest, highest, full }: Found): void {
    const restMs = Math.min((endedAt - startedAt) * FULL_REST_FACTOR, LONGEST_REST_MS)
    fullFrom = endedAt + restMs
    shortRest = restMs < SHORT_REST_MS
    low = lowest ?? low
    if (!full) return
    fullWanted = true
    goesOn = { kind: 'on', from: highest as bigint }
  }

  function foundByStretch({ look, startedAt, endedAt, highest, full }: Found): void {
    if (!full) fullWanted = true
    if (look.kind === 'front') frontFrom = full ? endedAt : endedAt + (endedAt - startedAt) * FRONT_REST_FACTOR
    if (full) goesOn = look.kind === 'front' ? look : { kind: 'on', from: highest as bigint }
  }

  return {
    get nextAt() {
      return Math.min(fullWanted ? fullFrom : Infinity, frontWanted ? frontFrom : Infinity)
    },
    plan(now) {
      const next = goesOn
      goesOn = undefined
      if (high === undefined || forced || now >= fullFrom) {
        ;[fullWanted, frontWanted, forced] = [false, false, false]
        return { kind: 'full' }
      }
      if (next !== undefined) return next
      if (frontWanted && now >= frontFrom) {
        frontWanted = false
        return { kind: 'front', from: low ?? 0n }
      }
      return { kind: 'tail', from: high }
    },
    found(claim) {
      const { highest } = claim
      if (highest !== undefined && (high === undefined || highest > high)) high = highest
      if (claim.look.kind === 'full') foundByFull(claim)
      else foundByStretch(claim)
    },
    wantFull() {
      fullWanted = true
      frontWanted = !shortRest
    },
    forceFull() {
      forced = true
    },
  }
}
