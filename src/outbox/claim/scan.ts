import { createStretchSize, type StretchSizes } from './stretch-size.ts'
import { createTail } from './tail.ts'

/**
 * Where a claim begins to look, and how far it looks. Sweeps, from the bottom to the end, find
 * everything, but walk over every row that cannot go. So a sweep of a large outbox is done in
 * stretches, with other looks in between, which look where rows have probably become free. Neither
 * order nor completeness depends on it, only cost and the time until a row is found.
 */
export interface Scan {
  plan(now: number): Look
  /** Records what a claim found. */
  found(claim: Found): void
  /** Nobody knows what this claim took. */
  failed(look: Look, startedAt: number, endedAt: number): void
  /**
   * Rows anywhere may have become free: a sweep should see to it, and a look from this position on,
   * or where rows were free lately.
   */
  wantFull(from?: bigint): void
  /** The next rows of this key may be free. */
  follow(key: string): void
  /**
   * A sweep begins with the next claim and does not rest much; another one does, if one is under
   * way.
   */
  forceFull(): void
  /** When a look that is wanted may take place (monotonic); Infinity if none is wanted. */
  readonly nextAt: number
}

/**
 * - `sweep`: the next stretch of a sweep; `begins` with the first one.
 * - `front`: from a row on that has become free, or the lowest row that was free at the last sweep.
 * - `on`: behind the claim before, which was full.
 * - `tail`: where new rows arrive.
 * - `keys`: only rows of these keys.
 */
export type Look =
  | {
      readonly kind: 'sweep'
      readonly begins: boolean
      readonly from: bigint
      readonly rows: number
    }
  | { readonly kind: 'front' | 'on' | 'tail'; readonly from: bigint; readonly rows: number }
  | { readonly kind: 'keys'; readonly keys: readonly string[] }

export interface Found {
  readonly look: Look
  readonly startedAt: number
  readonly endedAt: number
  /** Positions of the first and the last row; undefined without rows. */
  readonly lowest: bigint | undefined
  readonly highest: bigint | undefined
  /** It reached its limit. */
  readonly full: boolean
  /** Where the stretch stopped; undefined if it came to the end. */
  readonly stopped: { readonly next: bigint; readonly last: bigint } | undefined
}

/**
 * Sweeps take at most a tenth of the time, those in stretches a fifth: after one, nine times its
 * duration goes by; but never more than this, since only they are sure to find the rows of a relay
 * that has died, in 16 s at the most.
 */
const FULL_REST_FACTOR = 9
const STRETCH_REST_FACTOR = 4
const LONGEST_REST_MS = 1000
/** After a stretch: other looks come in between, however fast the database is. */
const SHORTEST_REST_MS = 1
/** Looks at the front that found less than they could have taken: at most a quarter of the time. */
const FRONT_REST_FACTOR = 3
/** If sweeps are as frequent as this, they find soon enough what has become free at the front. */
const SHORT_REST_MS = 25
/** Looks that go on somewhere: what was left when something more urgent came. */
const MOST_CHAINS = 4
const MOST_KEYS = 500

const restAfter = (tookMs: number, factor: number): number =>
  Math.min(Math.max(tookMs * factor, SHORTEST_REST_MS), LONGEST_REST_MS)

export function createScan(sizes: StretchSizes = {}): Scan {
  const size = createStretchSize(sizes)
  const tail = createTail()
  /** Lowest row of the last sweep that found something. */
  let low: bigint | undefined
  /** Where the sweep under way goes on. */
  let sweepAt: bigint | undefined
  let sweepMs = 0
  /** The last sweep took more than one stretch. */
  let large = false
  let keys = new Set<string>()
  const chains: Look[] = []
  let frontAt: bigint | undefined
  let [fullWanted, frontWanted, tailWanted, forced, again, urgent, keysLast] = [
    false,
    false,
    false,
    false,
    false,
    false,
    false,
  ]
  let [sweepFrom, frontFrom] = [0, 0]
  let shortRest = true

  const goOn = (from: bigint, kind: 'on' | 'tail' = 'on'): void => {
    chains.push({ kind, from, rows: size.look })
    if (chains.length > MOST_CHAINS) chains.shift()
  }

  function sweep(): Look {
    const begins = sweepAt === undefined
    if (begins) [sweepMs, fullWanted, frontWanted] = [0, false, false]
    if (begins) urgent = forced
    forced = false
    sweepAt ??= 0n
    tailWanted = large
    return { kind: 'sweep', begins, from: sweepAt, rows: size.sweep }
  }

  function foundBySweep(claim: Found & { readonly look: { readonly kind: 'sweep' } }): void {
    const { startedAt, endedAt, full, stopped } = claim
    const tookMs = endedAt - startedAt
    sweepMs += tookMs
    size.took(tookMs, stopped !== undefined)
    if (full) {
      fullWanted = true
      goOn(claim.highest as bigint)
    } else if (stopped !== undefined) {
      large = true
      tailWanted = true
      sweepAt = stopped.next
      tail.startAt(stopped.last)
      sweepFrom = endedAt + restAfter(tookMs, urgent ? 1 : STRETCH_REST_FACTOR)
      return
    } else {
      large = !claim.look.begins
      // One claim has seen everything, so nothing is left for the other looks.
      if (!large) [chains.length, keys, tailWanted] = [0, new Set(), false]
    }
    sweepAt = undefined
    const restMs = Math.min(sweepMs * FULL_REST_FACTOR, LONGEST_REST_MS)
    sweepFrom = endedAt + (large ? Math.max(restMs, SHORTEST_REST_MS) : restMs)
    shortRest = restMs < SHORT_REST_MS
    ;[forced, again] = [again, false]
  }

  function foundByLook({ look, startedAt, endedAt, highest, full, stopped }: Found): void {
    if (look.kind === 'keys') {
      if (full) for (const key of look.keys) keys.add(key)
      return
    }
    if (!full) fullWanted = true
    if (look.kind === 'front')
      frontFrom = full ? endedAt : endedAt + (endedAt - startedAt) * FRONT_REST_FACTOR
    if (full)
      chains.push(
        look.kind === 'front' ? look : { kind: 'on', from: highest as bigint, rows: size.look },
      )
    else if (look.kind === 'tail' && stopped !== undefined) {
      tail.mark(stopped.next, endedAt)
      goOn(stopped.next, 'tail')
    }
  }

  function otherLook(now: number): Look | undefined {
    if (keys.size > 0 && !keysLast) {
      const look: Look = { kind: 'keys', keys: [...keys] }
      keys = new Set()
      keysLast = true
      return look
    }
    keysLast = false
    const next = chains.pop()
    if (next !== undefined) return next
    if (!frontWanted || now < frontFrom) return undefined
    const from = frontAt ?? low ?? 0n
    ;[frontWanted, frontAt] = [false, undefined]
    return { kind: 'front', from, rows: size.look }
  }

  function tailLook(now: number): Look {
    tailWanted = false
    return { kind: 'tail', from: tail.from(large, now), rows: size.look }
  }

  return {
    get nextAt() {
      if (forced || keys.size > 0 || tailWanted || chains.length > 0) return -Infinity
      return Math.min(
        fullWanted || sweepAt !== undefined ? sweepFrom : Infinity,
        frontWanted ? frontFrom : Infinity,
      )
    },
    plan(now) {
      if (tail.known && tailWanted) return tailLook(now)
      if (!tail.known || forced || now >= sweepFrom) return sweep()
      return otherLook(now) ?? tailLook(now)
    },
    found(claim) {
      const { look, highest } = claim
      if (highest !== undefined) tail.claimed(highest, claim.endedAt)
      if (look.kind !== 'sweep') return foundByLook(claim)
      if (claim.lowest !== undefined && (look.begins || low === undefined || claim.lowest < low))
        low = claim.lowest
      foundBySweep({ ...claim, look })
    },
    failed(look, startedAt, endedAt) {
      fullWanted = true
      tailWanted = large
      if (look.kind === 'keys') for (const key of look.keys) keys.add(key)
      if (look.kind === 'sweep') size.failed()
      if (large) sweepFrom = endedAt + restAfter(endedAt - startedAt, STRETCH_REST_FACTOR)
      else forced = true
    },
    wantFull(from) {
      fullWanted = true
      if (from !== undefined && (frontAt === undefined || from < frontAt)) frontAt = from
      frontWanted = !shortRest || large
    },
    follow(key) {
      if (large && keys.size < MOST_KEYS) keys.add(key)
    },
    forceFull() {
      if (sweepAt === undefined) forced = true
      else [again, urgent, sweepFrom] = [true, true, 0]
    },
  }
}
