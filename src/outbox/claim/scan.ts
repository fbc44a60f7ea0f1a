import { createStretchSize, type StretchSize, type StretchSizes } from './stretch-size.ts'
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
  /**
   * A sweep is to prove that nothing is left: it begins as soon as no look goes on behind one that
   * was full, which proves the contrary.
   */
  prove(): void
  /** When a look that is wanted may take place (monotonic); Infinity if none is wanted. */
  readonly nextAt: number
  /** At least one sweep has come to the end: before, there may be free rows that nobody saw. */
  readonly swept: boolean
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
  return new Sweeps(sizes)
}

class Sweeps implements Scan {
  readonly #size: StretchSize
  readonly #tail = createTail()
  /** Lowest row of the last sweep that found something. */
  #low: bigint | undefined
  /** Where the sweep under way goes on. */
  #sweepAt: bigint | undefined
  #sweepMs = 0
  /** The last sweep took more than one stretch. */
  #large = false
  /** The last sweep found as much as it could take, so the next one probably does as well. */
  #full = false
  #keys = new Set<string>()
  readonly #chains: Look[] = []
  #frontAt: bigint | undefined
  #fullWanted = false
  #frontWanted = false
  #tailWanted = false
  #forced = false
  #proofWanted = false
  #again = false
  #urgent = false
  #keysLast = false
  #sweepFrom = 0
  #frontFrom = 0
  #shortRest = true
  #swept = false

  constructor(sizes: StretchSizes) {
    this.#size = createStretchSize(sizes)
  }

  get nextAt(): number {
    if (this.#forced || this.#proofWanted || this.#tailWanted || this.#chains.length > 0)
      return -Infinity
    if (this.#keys.size > 0) return -Infinity
    return Math.min(
      this.#fullWanted || this.#sweepAt !== undefined ? this.#sweepFrom : Infinity,
      this.#frontWanted ? this.#frontFrom : Infinity,
    )
  }

  get swept(): boolean {
    return this.#swept
  }

  plan(now: number): Look {
    if (this.#tail.known && this.#tailWanted) return this.#tailLook(now)
    const proves = this.#proofWanted && this.#chains.length === 0
    if (!this.#tail.known || this.#forced || proves || now >= this.#sweepFrom) return this.#sweep()
    return this.#otherLook(now) ?? this.#tailLook(now)
  }

  found(claim: Found): void {
    const { look, highest } = claim
    if (highest !== undefined) this.#tail.claimed(highest, claim.endedAt)
    if (look.kind !== 'sweep') return this.#foundByLook(claim)
    if (
      claim.lowest !== undefined &&
      (look.begins || this.#low === undefined || claim.lowest < this.#low)
    )
      this.#low = claim.lowest
    this.#foundBySweep({ ...claim, look })
  }

  failed(look: Look, startedAt: number, endedAt: number): void {
    this.#fullWanted = true
    this.#tailWanted = this.#large
    if (look.kind === 'keys') for (const key of look.keys) this.#keys.add(key)
    if (look.kind === 'sweep') this.#size.failed()
    if (this.#large) this.#sweepFrom = endedAt + restAfter(endedAt - startedAt, STRETCH_REST_FACTOR)
    else this.#forced = true
  }

  wantFull(from?: bigint): void {
    this.#fullWanted = true
    if (from !== undefined && (this.#frontAt === undefined || from < this.#frontAt))
      this.#frontAt = from
    this.#frontWanted = !this.#shortRest || this.#large
  }

  follow(key: string): void {
    if (this.#large && this.#keys.size < MOST_KEYS) this.#keys.add(key)
  }

  forceFull(): void {
    if (this.#sweepAt === undefined) this.#forced = true
    else [this.#again, this.#urgent, this.#sweepFrom] = [true, true, 0]
  }

  prove(): void {
    if (this.#sweepAt === undefined) this.#proofWanted = true
    else this.forceFull()
  }

  #goOn(from: bigint, kind: 'on' | 'tail' = 'on'): void {
    this.#chains.push({ kind, from, rows: this.#size.look })
    if (this.#chains.length > MOST_CHAINS) this.#chains.shift()
  }

  #sweep(): Look {
    const begins = this.#sweepAt === undefined
    if (begins) [this.#sweepMs, this.#fullWanted, this.#frontWanted] = [0, false, false]
    if (begins) this.#urgent = this.#forced || this.#proofWanted
    ;[this.#forced, this.#proofWanted] = [false, false]
    this.#sweepAt ??= 0n
    this.#tailWanted = this.#large
    // To know where a long stretch ends costs a walk over it, also if the first rows are enough.
    const { sweep, look } = this.#size
    const rows = begins && this.#full ? Math.min(sweep, look) : sweep
    return { kind: 'sweep', begins, from: this.#sweepAt, rows }
  }

  #foundBySweep(claim: Found & { readonly look: { readonly kind: 'sweep' } }): void {
    const { startedAt, endedAt, full, stopped } = claim
    const tookMs = endedAt - startedAt
    this.#sweepMs += tookMs
    // One that is full has not walked over all of its stretch.
    this.#size.took(tookMs, stopped !== undefined && !full)
    this.#full = full
    if (full) {
      this.#fullWanted = true
      this.#goOn(claim.highest as bigint)
    } else if (stopped !== undefined) {
      this.#large = true
      this.#tailWanted = true
      this.#sweepAt = stopped.next
      this.#tail.startAt(stopped.last)
      this.#sweepFrom = endedAt + restAfter(tookMs, this.#urgent ? 1 : STRETCH_REST_FACTOR)
      return
    } else {
      this.#swept = true
      this.#large = !claim.look.begins
      // One claim has seen everything, so nothing is left for the other looks.
      if (!this.#large) [this.#chains.length, this.#keys, this.#tailWanted] = [0, new Set(), false]
    }
    this.#sweepAt = undefined
    const restMs = Math.min(this.#sweepMs * FULL_REST_FACTOR, LONGEST_REST_MS)
    this.#sweepFrom = endedAt + (this.#large ? Math.max(restMs, SHORTEST_REST_MS) : restMs)
    this.#shortRest = restMs < SHORT_REST_MS
    ;[this.#forced, this.#again] = [this.#again, false]
  }

  #foundByLook({ look, startedAt, endedAt, highest, full, stopped }: Found): void {
    if (look.kind === 'keys') {
      if (full) for (const key of look.keys) this.#keys.add(key)
      return
    }
    if (!full) this.#fullWanted = true
    if (look.kind === 'front')
      this.#frontFrom = full ? endedAt : endedAt + (endedAt - startedAt) * FRONT_REST_FACTOR
    if (full)
      this.#chains.push(
        look.kind === 'front'
          ? look
          : { kind: 'on', from: highest as bigint, rows: this.#size.look },
      )
    else if (look.kind === 'tail' && stopped !== undefined) {
      this.#tail.mark(stopped.next, endedAt)
      this.#goOn(stopped.next, 'tail')
    }
  }

  #otherLook(now: number): Look | undefined {
    if (this.#keys.size > 0 && !this.#keysLast) {
      const look: Look = { kind: 'keys', keys: [...this.#keys] }
      this.#keys = new Set()
      this.#keysLast = true
      return look
    }
    this.#keysLast = false
    const next = this.#chains.pop()
    if (next !== undefined) return next
    if (!this.#frontWanted || now < this.#frontFrom) return undefined
    const from = this.#frontAt ?? this.#low ?? 0n
    ;[this.#frontWanted, this.#frontAt] = [false, undefined]
    return { kind: 'front', from, rows: this.#size.look }
  }

  #tailLook(now: number): Look {
    this.#tailWanted = false
    return { kind: 'tail', from: this.#tail.from(this.#large, now), rows: this.#size.look }
  }
}
