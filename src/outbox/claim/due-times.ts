/** When the rows fall due that the storage has told of. */
export interface DueTimes {
  /** The earliest time (monotonic milliseconds), or Infinity. */
  readonly next: number
  /** In place of what was told before; what falls due about now is kept. */
  replace(rows: readonly DueRow[], now: number): void
  /** Removes and returns the positions of the rows that have fallen due. */
  take(now: number): readonly bigint[]
}

export interface DueRow {
  /** Monotonic milliseconds. */
  readonly at: number
  readonly position: bigint
}

/** Times are rounded up to this, so that a thousand rows a second are not a thousand claims. */
const STEP_MS = 5
/** An answer of a slow storage has made the times later than they are by no more than this. */
const KEPT_MS = 1000

export function createDueTimes(): DueTimes {
  /** Earliest first. */
  let rows: readonly DueRow[] = []
  return {
    get next() {
      return rows[0]?.at ?? Infinity
    },
    replace(told, now) {
      // What has just fallen due by the clock of the storage is told no more.
      const positions = new Set(told.map(({ position }) => position))
      const kept = rows.filter(
        ({ at, position }) => at <= now + KEPT_MS && !positions.has(position),
      )
      const rounded = told.map(({ at, position }) => ({ at: roundUp(at), position }))
      rows = [...kept, ...rounded].sort((left, right) => left.at - right.at)
    },
    take(now) {
      const end = rows.findIndex(({ at }) => at > now)
      const due = end < 0 ? rows : rows.slice(0, end)
      rows = end < 0 ? [] : rows.slice(end)
      return due.map(({ position }) => position)
    },
  }
}

const roundUp = (at: number): number => Math.ceil(at / STEP_MS) * STEP_MS
