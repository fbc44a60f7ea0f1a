import type { Room } from './capacity.ts'
import type { Held } from './slow-destinations.ts'

/**
 * What the next claim may take when some destinations are slow, so that they hold up no other one:
 *
 * - `others`: leaves all slow ones alone. Comes first, and again at each hint.
 * - `shares`: leaves those alone that hold their share.
 * - `borrow`: leaves none alone. Comes when nobody else wanted anything in all of the outbox, and
 *   never takes the last quarter of the window.
 * - `all`: nothing is slow.
 */
export type Turn = 'all' | 'others' | 'shares' | 'borrow'

/**
 * Delayed rows that have fallen due: all of them; or those that the look for all has left alone,
 * since it leaves slow destinations alone.
 */
export type RowsFor = 'all' | 'slow'

export interface Grant {
  readonly turn: Turn
  /** It is for these rows alone, and changes nobody's turn. */
  readonly rows?: RowsFor
  /** 0: there is no room for this turn. */
  readonly limit: number
  readonly except: readonly string[]
}

export interface Shares {
  next(state: SharesState): Grant
  /** The same for these rows alone. It takes nobody's turn. */
  nextRows(room: Room, rows: RowsFor): Grant
  /** What became of the claim. Returns whether the next one is to follow at once. */
  took(turn: Turn, full: boolean): boolean
  /** How many rows of slow destinations may be added. */
  readonly slowRoom: number
}

/** `free`: rows that the window has room for; `whole`: what a claim takes when nothing is slow. */
export interface SharesState extends Room {
  /** There is a new reason to look. */
  readonly fresh: boolean
  /** The looks for others have seen the whole outbox once. */
  readonly swept: boolean
}

/**
 * Of the window: what one slow destination may hold while others wait, and what all of them leave
 * free.
 */
const SHARE = 4

/** Rows that one slow destination may hold while others wait. */
export const shareOf = (window: number): number => Math.max(1, Math.floor(window / SHARE))
/** More destinations are not named in a claim. */
const MOST_NAMED = 100

export interface SharesPorts {
  readonly window: number
  readonly batchSize: number
  readonly slow: () => readonly Held[]
}

export function createShares(ports: SharesPorts): Shares {
  return new SharesOfWindow(ports)
}

const heldBy = (list: readonly Held[]): number => list.reduce((sum, { rows }) => sum + rows, 0)
const named = (list: readonly Held[]): string[] =>
  list.slice(0, MOST_NAMED).map(({ destination }) => destination)

class SharesOfWindow implements Shares {
  readonly #batchSize: number
  readonly #slow: SharesPorts['slow']
  readonly #share: number
  /** Rows that all slow destinations may hold together. */
  readonly #most: number
  #turn: Turn = 'all'
  /** Others filled their last claim: then the slow ones get no more than their shares. */
  #hungry = false

  constructor({ window, batchSize, slow }: SharesPorts) {
    this.#batchSize = batchSize
    this.#slow = slow
    this.#share = shareOf(window)
    this.#most = window - Math.floor(window / SHARE)
  }

  get slowRoom(): number {
    return Math.max(0, this.#most - heldBy(this.#slow()))
  }

  next({ free, whole, fresh, swept }: SharesState): Grant {
    const list = this.#slow()
    if (list.length === 0) {
      this.#turn = 'all'
      return { turn: this.#turn, limit: whole, except: [] }
    }
    if (fresh || this.#turn === 'all') this.#turn = 'others'
    const given = this.#grant(list, free, swept)
    if (given.turn !== 'shares' || given.limit > 0) return given
    this.#turn = this.#hungry ? 'others' : 'borrow'
    return this.#grant(list, free, swept)
  }

  nextRows({ free, whole }: Room, rows: RowsFor): Grant {
    const list = this.#slow()
    if (list.length === 0) return { turn: 'all', limit: whole, except: [], rows }
    if (rows === 'slow') return { ...this.#sharesOf(list, free), rows }
    return { turn: 'others', limit: this.#forOthers(free), except: named(list), rows }
  }

  took(done: Turn, full: boolean): boolean {
    if (done === 'all' || done === 'borrow') return full
    if (done === 'others') this.#hungry = full
    if (done === 'others') this.#turn = 'shares'
    else this.#turn = this.#hungry || full ? 'others' : 'borrow'
    return true
  }

  #grant(list: readonly Held[], free: number, swept: boolean): Grant {
    switch (this.#turn) {
      case 'shares':
        return this.#sharesOf(list, free)
      case 'borrow':
        // What others have may lie behind all that was seen of the outbox.
        return { turn: 'borrow', limit: swept ? this.#borrowed(list, free) : 0, except: [] }
      case 'others':
      case 'all':
      default:
        return { turn: 'others', limit: this.#forOthers(free), except: named(list) }
    }
  }

  /**
   * What is found may be slow as well, which shows only later: half of the room is kept for the
   * next one.
   */
  #forOthers(free: number): number {
    const some = free > this.#most / 2 ? free : Math.ceil(free / 2)
    return Math.max(0, Math.min(this.#batchSize, some))
  }

  #sharesOf(list: readonly Held[], free: number): Grant {
    // With several slow ones, each may hold less, so that all of them have something.
    const each = Math.max(1, Math.min(this.#share, Math.floor(this.#most / list.length)))
    const limit = Math.min(Math.ceil(each / 2), this.#roomForSlow(list, free))
    const except = named(list.filter(({ rows }) => rows >= Math.ceil(each / 2)))
    return { turn: 'shares', limit: Math.max(0, limit), except }
  }

  /** Small claims cost more than large ones, so it waits for a good part. */
  #borrowed(list: readonly Held[], free: number): number {
    const limit = Math.min(this.#batchSize, this.#roomForSlow(list, free))
    return limit >= Math.min(this.#batchSize, Math.ceil(this.#share / 2)) ? limit : 0
  }

  #roomForSlow(list: readonly Held[], free: number): number {
    return Math.min(this.#most - heldBy(list), free)
  }
}
