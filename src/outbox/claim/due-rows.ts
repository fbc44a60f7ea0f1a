import type { Grant, RowsFor } from '../limits/shares.ts'

/**
 * Delayed rows that have fallen due, until a look has been at their positions. Such a look is made
 * beside the other ones: it answers no hint, no poll, no retry and no probe, and does not come
 * twice in a row while another one is due. So delayed rows hold up nothing, however many there are.
 */
export interface DueRows {
  /** Whom the next look at rows would be for; undefined: no row waits for one. */
  readonly waiting: RowsFor | undefined
  /** The look before was one at rows. */
  readonly last: boolean
  /** Returns those that are too many. */
  add(positions: readonly bigint[]): readonly bigint[]
  /** A look at rows begins: what it looks at. */
  take(grant: Grant, rows: RowsFor): RowsLook
  /** The look has been answered; `full`: it is to be repeated. Returns those that are too many. */
  found(looked: Looked, full: boolean): readonly bigint[]
  /** Another look begins. */
  others(): void
  /** There is no room for rows of slow destinations: returns and forgets them. */
  passOver(): readonly bigint[]
}

/** Only rows at these positions. */
export interface RowsLook {
  readonly kind: 'rows'
  readonly positions: readonly bigint[]
}

/** A look at rows that has been made. */
export interface Looked {
  readonly look: RowsLook
  readonly grant: Grant
  readonly rows: RowsFor
}

/** Beyond this many the sweeps find them. */
const MOST_ROWS = 500

export function createDueRows(): DueRows {
  return new RowsByPosition()
}

class RowsByPosition implements DueRows {
  #all = new Set<bigint>()
  /** A look for others has left them alone if their destination is slow. */
  #slow = new Set<bigint>()
  #before: RowsFor | undefined
  #last = false

  get waiting(): RowsFor | undefined {
    if (this.#slow.size > 0 && (this.#all.size === 0 || this.#before === 'all')) return 'slow'
    return this.#all.size > 0 ? 'all' : undefined
  }

  get last(): boolean {
    return this.#last
  }

  add(positions: readonly bigint[]): readonly bigint[] {
    return addUpTo(this.#all, positions)
  }

  take(grant: Grant, rows: RowsFor): RowsLook {
    this.#before = rows
    this.#last = true
    const positions: bigint[] = []
    // When nothing is slow, one look is for both.
    if (rows === 'all' || grant.turn === 'all') {
      positions.push(...this.#all)
      this.#all = new Set()
    }
    if (rows === 'slow' || grant.turn === 'all') {
      positions.push(...this.#slow)
      this.#slow = new Set()
    }
    return { kind: 'rows', positions }
  }

  found({ look, grant, rows }: Looked, full: boolean): readonly bigint[] {
    if (full) return addUpTo(rows === 'slow' ? this.#slow : this.#all, look.positions)
    return grant.turn === 'others' ? addUpTo(this.#slow, look.positions) : []
  }

  others(): void {
    this.#last = false
  }

  passOver(): readonly bigint[] {
    const passed = [...this.#slow]
    this.#slow = new Set()
    return passed
  }
}

function addUpTo(rows: Set<bigint>, positions: readonly bigint[]): readonly bigint[] {
  const room = Math.max(0, MOST_ROWS - rows.size)
  for (const position of positions.slice(0, room)) rows.add(position)
  return positions.slice(room)
}
