/** When the rows fall due that the storage has told of. */
export interface DueTimes {
  /** The earliest time (monotonic milliseconds), or Infinity. */
  readonly next: number
  /** In place of what was told before; what falls due about now is kept. */
  replace(told: Told, now: number): void
  /** Removes and returns what has fallen due. */
  take(now: number): FallenDue
}

/** What the storage has answered. */
export interface Told {
  readonly rows: readonly DueRow[]
  /** There may be more behind this one. */
  readonly behind: Behind | undefined
}

export interface FallenDue {
  readonly positions: readonly bigint[]
  /** Rows that were not told of may have fallen due, from about this position on. */
  readonly untold: bigint | undefined
}

export interface DueRow {
  /** Monotonic milliseconds. */
  readonly at: number
  readonly position: bigint
}

/**
 * The last row of a full answer. Of those that fall due after it nothing is known before the next
 * answer, and of those that have fallen due by then, nothing is ever told.
 */
interface Behind extends DueRow {
  /** It falls due then at the earliest: the answer was on its way. */
  readonly earliest: number
}

/** Times are rounded up to this, so that a thousand rows a second are not a thousand claims. */
const STEP_MS = 5
/** An answer of a slow storage has made the times later than they are by no more than this. */
const KEPT_MS = 1000
/** The next answer is waited for until the last row of a full answer is this late. */
const OVERDUE_MS = 50

export function createDueTimes(): DueTimes {
  /** Earliest first. */
  let rows: readonly DueRow[] = []
  let behind: Behind | undefined
  let overdueAt = Infinity
  let untold: bigint | undefined
  const miss = (position: bigint): void => {
    if (untold === undefined || position < untold) untold = position
  }
  return {
    get next() {
      return untold === undefined ? Math.min(rows[0]?.at ?? Infinity, overdueAt) : -Infinity
    },
    replace(told, now) {
      // What has just fallen due by the clock of the storage is told no more.
      const positions = new Set(told.rows.map(({ position }) => position))
      const kept = rows.filter(
        ({ at, position }) => at <= now + KEPT_MS && !positions.has(position),
      )
      const rounded = told.rows.map(({ at, position }) => ({ at: roundUp(at), position }))
      rows = [...kept, ...rounded].sort((left, right) => left.at - right.at)
      if (behind !== undefined && behind.earliest <= now) miss(behind.position)
      behind = told.behind
      overdueAt = behind === undefined ? Infinity : behind.at + OVERDUE_MS
    },
    take(now) {
      const end = rows.findIndex(({ at }) => at > now)
      const due = end < 0 ? rows : rows.slice(0, end)
      rows = end < 0 ? [] : rows.slice(end)
      if (behind !== undefined && now >= overdueAt) {
        miss(behind.position)
        overdueAt = Infinity
      }
      const taken = { positions: due.map(({ position }) => position), untold }
      untold = undefined
      return taken
    },
  }
}

const roundUp = (at: number): number => Math.ceil(at / STEP_MS) * STEP_MS
