import type { Grant, RowsFor } from '../limits/shares.ts'
import { createDueTimes, type Told } from './due-times.ts'

/**
 * Delayed rows that have fallen due, until a look has been at their positions. Such a look is made
 * beside the other ones: it answers no hint, no poll, no retry and no probe, and does not come
 * twice in a row while another one is due. So delayed rows hold up nothing, however many there are.
 */
export interface DueRows {
  /** These fall due next. */
  expect(told: Told, now: number): void
  /** When the next one falls due (monotonic milliseconds), or Infinity. */
  readonly dueAt: number
  /** Takes note of those that have fallen due. */
  fallDue(now: number): void
  /** Whom the next look at rows would be for; undefined: no row waits for one. */
  readonly waiting: RowsFor | undefined
  /** The look before was one at rows: another one that is due comes first. */
  readonly last: boolean
  /** A look at rows begins. */
  look(grant: Grant): RowsLook
  /** It has been answered; `full`: it is to be repeated. */
  found(look: RowsLook, grant: Grant, full: boolean): void
  /** Another look begins. */
  others(): void
  /** There is no room for rows of slow destinations: they are left to the other looks. */
  passOver(): void
}

/** Only rows at these positions. */
export interface RowsLook {
  readonly kind: 'rows'
  readonly positions: readonly bigint[]
}

/** A claim takes no more positions; what waits beyond this many is found by the sweeps. */
const MOST_ROWS = 500

/** `leave`: the other looks are to find the rows at these positions, or behind them. */
export function createDueRows(leave: (positions: readonly bigint[]) => void): DueRows {
  const times = createDueTimes()
  const all = new Set<bigint>()
  /** A look for all has left them alone if their destination is slow. */
  const slow = new Set<bigint>()
  let before: RowsFor | undefined
  let last = false

  function add(rows: Set<bigint>, positions: readonly bigint[]): void {
    const room = Math.max(0, MOST_ROWS - rows.size)
    for (const position of positions.slice(0, room)) rows.add(position)
    leave(positions.slice(room))
  }

  return {
    expect: (told, now) => times.replace(told, now),
    get dueAt() {
      return times.next
    },
    fallDue(now) {
      if (now < times.next) return
      const { positions, untold } = times.take(now)
      add(all, positions)
      if (untold !== undefined) leave([untold])
    },
    get waiting() {
      if (slow.size > 0 && (all.size === 0 || before === 'all')) return 'slow'
      return all.size > 0 ? 'all' : undefined
    },
    get last() {
      return last
    },
    look({ turn, rows }) {
      ;[before, last] = [rows, true]
      // When nothing is slow, one look is for both.
      const taken = turn === 'all' ? [all, slow] : [rows === 'slow' ? slow : all]
      const each = new Set(taken.flatMap((some) => [...some]))
      const positions = [...each].slice(0, MOST_ROWS)
      for (const position of positions) for (const some of taken) some.delete(position)
      return { kind: 'rows', positions }
    },
    found({ positions }, { turn, rows }, full) {
      if (full) add(rows === 'slow' ? slow : all, positions)
      else if (turn === 'others') add(slow, positions)
    },
    others() {
      last = false
    },
    passOver() {
      leave([...slow])
      slow.clear()
    },
  }
}
