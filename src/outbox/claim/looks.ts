import type { ClaimRequest, Stretch } from '../../core/outbox.ts'
import type { Grant } from '../limits/shares.ts'
import type { Entry } from '../settle/entry.ts'
import { createDueRows, type DueRows, type RowsLook } from './due-rows.ts'
import { createScan, type Look, type Scan } from './scan.ts'
import type { StretchSizes } from './stretch-size.ts'

/** When the relay looks into the outbox, and where. */
export interface Looks {
  /**
   * When there is a reason to look without a hint, but for delayed rows (monotonic milliseconds).
   */
  readonly dueAt: number
  /** Delayed rows that fall due, which are looked at beside everything else. */
  readonly rows: DueRows
  /**
   * When a claim that leaves slow destinations alone is due: a poll interval after the one before,
   * or earlier if its own scan has a reason to look (monotonic).
   */
  readonly othersDueAt: number
  /** Whether that time has come. */
  othersAreDue(now: number): boolean
  /** Such claims have seen the whole outbox once. */
  readonly othersSwept: boolean
  /** A claim begins. */
  begin(grant: Grant, now: number): Looking
  /** The next claim follows at once. */
  atOnce(): void
  /** These rows have left the hands of the relay, and later ones may have become free. */
  gone(entries: readonly Entry[], how: 'settled' | 'dropped', now: number): void
  /** Rows may have become due that no scan expects. */
  everywhere(): void
  /** One whole sweep is to see everything, once nothing more is found otherwise. */
  prove(): void
}

/** One claim under way. */
export interface Looking {
  readonly look: Look | RowsLook
  /** What of the outbox the claim asks for. */
  readonly request: Pick<ClaimRequest, 'fromPosition' | 'stretch' | 'keys' | 'positions'>
  /** Returns whether the claim came to the end of the outbox. */
  found(rows: Rows, now: number): boolean
  failed(now: number): void
}

interface Rows {
  readonly lowest: bigint | undefined
  readonly highest: bigint | undefined
  /** The claim reached its limit. */
  readonly full: boolean
}

export function createLooks(pollIntervalMs: number, stretch: StretchSizes | undefined): Looks {
  const scan = createScan(stretch)
  /** They find something else, and so go on elsewhere. */
  const othersScan = createScan(stretch)
  // Slow destinations borrow nothing before its first sweep has come to the end.
  othersScan.forceFull()
  const scans = [scan, othersScan]
  const later = createLater()
  let lookedAt = -Infinity
  let othersLookedAt = -Infinity
  let atOnce = true
  const othersDueAt = (): number => Math.min(othersLookedAt + pollIntervalMs, othersScan.nextAt)
  const wantFull = (positions: readonly bigint[]): void => {
    for (const position of positions) for (const each of scans) each.wantFull(position)
  }
  const rows = createDueRows(wantFull)

  function begin(grant: Grant, now: number): Looking {
    if (grant.rows !== undefined) return lookingAtRows(rows, grant)
    rows.others()
    atOnce = false
    const due = later.take(now)
    if (due !== undefined) wantFull([due])
    const { turn } = grant
    // The claims for slow destinations fill up with their rows, and say nothing of others.
    if (turn === 'all' || turn === 'others') lookedAt = now
    if (turn === 'others') othersLookedAt = now
    return looking(turn === 'others' ? othersScan : scan, now)
  }

  return {
    get dueAt() {
      if (atOnce) return -Infinity
      return Math.min(lookedAt + pollIntervalMs, scan.nextAt, later.next)
    },
    rows,
    get othersDueAt() {
      return othersDueAt()
    },
    othersAreDue: (now) => now >= othersDueAt(),
    get othersSwept() {
      return othersScan.swept
    },
    begin,
    atOnce() {
      atOnce = true
    },
    gone: whenGone(scans, later),
    everywhere() {
      for (const each of scans) each.forceFull()
    },
    prove: () => scan.prove(),
  }
}

function whenGone(scans: readonly Scan[], later: Later): Looks['gone'] {
  const freed = ({ row, settlement }: Entry, delayMs: number | undefined): void => {
    const { partitionKey } = row.message
    for (const each of scans) {
      each.wantFull(delayMs === 0 ? settlement.position : undefined)
      if (partitionKey !== undefined) each.follow(partitionKey)
    }
  }
  return (entries, how, now) => {
    for (const entry of entries) {
      const { settlement, keepUntil, unblocks } = entry
      const delayMs = delayOf(entry)
      if (how === 'dropped') later.add(keepUntil, settlement.position)
      else if (delayMs !== undefined && delayMs > 0) later.add(now + delayMs, settlement.position)
      else if (unblocks || delayMs === 0 || settlement.kind === 'dead') freed(entry, delayMs)
    }
  }
}

/** Undefined: the row does not fall due again. */
function delayOf({ settlement }: Entry): number | undefined {
  return settlement.kind === 'retry' || settlement.kind === 'release'
    ? (settlement.delayMs ?? 0)
    : undefined
}

function lookingAtRows(rows: DueRows, grant: Grant): Looking {
  const look = rows.look(grant)
  return {
    look,
    request: { positions: look.positions },
    found({ full }) {
      rows.found(look, grant, full)
      return !full
    },
    failed: () => rows.found(look, grant, true),
  }
}

function looking(scan: Scan, startedAt: number): Looking {
  const look = scan.plan(startedAt)
  let stopped: { readonly next: bigint; readonly last: bigint } | undefined
  return {
    look,
    request: partOf(look, (at) => (stopped = at)),
    found({ lowest, highest, full }, endedAt) {
      scan.found({ look, startedAt, endedAt, lowest, highest, full, stopped })
      return stopped === undefined && !full
    },
    failed: (endedAt) => scan.failed(look, startedAt, endedAt),
  }
}

function partOf(look: Look, stopped: Stretch['stopped']): Looking['request'] {
  if (look.kind === 'keys') return { keys: look.keys }
  return { fromPosition: look.from, stretch: { rows: look.rows, stopped } }
}

/** When rows fall due that this relay gave back with a delay. */
interface Later {
  /** Monotonic milliseconds, and the position of the row. */
  add(at: number, position: bigint): void
  /** The earliest time, or Infinity. */
  readonly next: number
  /**
   * Drops every time up to now. Returns the lowest position of the rows that fall due; undefined if
   * none does.
   */
  take(now: number): bigint | undefined
}

/**
 * Times are rounded up to this, so that a thousand rows with nearly the same delay are one entry.
 */
const STEP_MS = 50
/** Beyond this many entries the poll timer is enough. */
const MOST_TIMES = 500

export function createLater(): Later {
  const times = new Map<number, bigint>()
  let next = Infinity
  return {
    get next() {
      return next
    },
    add(at, position) {
      const time = Math.ceil(at / STEP_MS) * STEP_MS
      if (time >= next && times.size >= MOST_TIMES) return
      const known = times.get(time)
      if (known === undefined || position < known) times.set(time, position)
      if (time < next) next = time
    },
    take(now) {
      if (now < next) return undefined
      next = Infinity
      let lowest: bigint | undefined
      for (const [time, position] of times) {
        if (time <= now) {
          times.delete(time)
          if (lowest === undefined || position < lowest) lowest = position
        } else if (time < next) next = time
      }
      return lowest
    },
  }
}
