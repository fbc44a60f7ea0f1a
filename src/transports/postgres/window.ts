/** Where a look begins, and how many rows it may walk over: as many as there are, if undefined. */
export interface Stretch {
  /** The position to look from; 0 means the bottom. */
  readonly from: bigint
  readonly rows: number | undefined
  /** A part of a full look; else it looks at what is new. */
  readonly full: boolean
}

export interface Looked {
  readonly stretch: Stretch
  /** The first position that was not looked at; undefined if the queue ended before. */
  readonly upTo: bigint | undefined
  /** The last position there was. */
  readonly end: bigint
  /** The last one that was taken, if the look ended there because hands were full. */
  readonly highest: bigint | undefined
  readonly startedAt: number
  readonly endedAt: number
}

/**
 * Where a fetch begins to look. Rows that wait behind the first one of their key are walked over,
 * so that a long backlog of one key would make every fetch expensive. A cursor saves most of that:
 * it stands behind what has been looked at, and full looks from the bottom find everything else.
 * Where these take long they go in stretches, so that none holds up what is new. The order of a key
 * never depends on it, only cost. Times are those of a monotonic clock.
 */
export class Window {
  #cursor = 0n
  /** Where the next stretch of a full look begins. */
  #bottom = 0n
  /** Set while whole looks take too long. */
  #rows: number | undefined
  #wanted = false
  #notBefore = 0

  plan(now: number): Stretch {
    return this.#cursor > 0n && now >= this.#notBefore
      ? { from: this.#bottom, rows: this.#rows, full: true }
      : this.front()
  }

  /** Behind all that has been looked at. */
  front(): Stretch {
    return { from: this.#cursor, rows: this.#rows, full: false }
  }

  /** When the next stretch of a full look should come; Infinity if none is wanted. */
  get fullAt(): number {
    return this.#wanted ? this.#notBefore : Infinity
  }

  looked({ stretch, upTo, end, highest, startedAt, endedAt }: Looked): void {
    const took = endedAt - startedAt
    this.#rows = rowsAfter(stretch, took, {
      cut: upTo !== undefined,
      filled: highest !== undefined,
    })
    const next = highest === undefined ? (upTo ?? end + 1n) : highest + 1n
    const isPart =
      stretch.full && highest === undefined && upTo !== undefined && upTo < this.#cursor
    if (isPart) this.#bottom = upTo
    else {
      this.#cursor = next
      if (stretch.full) this.#bottom = 0n
    }
    // What commits late has an earlier position, and what was held or not due is below the cursor.
    this.#wanted = isPart || (!stretch.full && stretch.from > 0n)
    if (stretch.full || stretch.from === 0n)
      this.#notBefore = endedAt + Math.min(took * REST_FACTOR, LONGEST_REST_MS)
  }

  /** Something below the cursor may be due. */
  wantFull(): void {
    this.#wanted = true
  }
}

/** `cut`: the look ended with its stretch. `filled`: it ended because hands were full. */
function rowsAfter(
  { from, rows }: Stretch,
  took: number,
  { cut, filled }: { readonly cut: boolean; readonly filled: boolean },
): number | undefined {
  if (took > LONGEST_STRETCH_MS)
    return rows === undefined ? ROWS.first : Math.max(ROWS.least, Math.floor(rows / 2))
  if (rows === undefined || filled || (from === 0n && !cut)) return undefined
  return cut && took < LONGEST_STRETCH_MS / 4 ? Math.min(ROWS.most, rows * 2) : rows
}

/** Rows of one stretch, by how long the last ones took. */
const ROWS = { first: 2000, least: 500, most: 50_000 }
const LONGEST_STRETCH_MS = 20

/**
 * Full looks take at most a tenth of the time: after a stretch, nine times its duration goes by,
 * but never more than this: only they find what a dead consumer held.
 */
const REST_FACTOR = 9
const LONGEST_REST_MS = 1000
