import type { Held } from './slow-destinations.ts'

/**
 * What the next claim may take when some destinations are slow, so that they hold up no other one:
 *
 * - `others`: leaves all slow ones alone. Comes first, and again at each hint.
 * - `shares`: leaves those alone that hold their share.
 * - `borrow`: leaves none alone. Comes when nobody else wanted anything, and never takes the last
 *   quarter of the window.
 * - `all`: nothing is slow.
 */
export type Turn = 'all' | 'others' | 'shares' | 'borrow'

export interface Grant {
  readonly turn: Turn
  /** 0: there is no room for this turn. */
  readonly limit: number
  readonly except: readonly string[]
}

export interface Shares {
  /**
   * `free`: rows that the window has room for; `whole`: what a claim may take when nothing is slow;
   * `fresh`: there is a new reason to look.
   */
  next(state: { readonly free: number; readonly whole: number; readonly fresh: boolean }): Grant
  /** What became of the claim. Returns whether the next one is to follow at once. */
  took(turn: Turn, full: boolean): boolean
  /** How many rows of slow destinations may be added. */
  readonly slowRoom: number
}

/**
 * Of the window: what one slow destination may hold while others wait, and what all of them leave
 * free.
 */
const SHARE = 4
/** More destinations are not named in a claim. */
const MOST_NAMED = 100

export interface SharesPorts {
  readonly window: number
  readonly batchSize: number
  readonly slow: () => readonly Held[]
}

export function createShares({ window, batchSize, slow }: SharesPorts): Shares {
  const share = Math.max(1, Math.floor(window / SHARE))
  const most = window - Math.floor(window / SHARE)
  let turn: Turn = 'all'
  /** Others filled their last claim: then the slow ones get no more than their shares. */
  let hungry = false

  const heldBy = (list: readonly Held[]): number => list.reduce((sum, { rows }) => sum + rows, 0)
  const named = (list: readonly Held[]): string[] =>
    list.slice(0, MOST_NAMED).map(({ destination }) => destination)

  function grant(list: readonly Held[], free: number): Grant {
    // What is found may be slow as well, which shows only later: half of the room is kept for the
    // next one.
    const others = Math.min(batchSize, free > most / 2 ? free : Math.ceil(free / 2))
    const room = Math.min(most - heldBy(list), free)
    // With several slow ones, each may hold less, so that all of them have something.
    const each = Math.max(1, Math.min(share, Math.floor(most / list.length)))
    switch (turn) {
      case 'shares':
        return {
          turn,
          limit: Math.max(0, Math.min(Math.ceil(each / 2), room)),
          except: named(list.filter(({ rows }) => rows >= Math.ceil(each / 2))),
        }
      case 'borrow': {
        // Small claims cost more than large ones, so it waits for a good part.
        const limit = Math.min(batchSize, room)
        return {
          turn,
          limit: limit >= Math.min(batchSize, Math.ceil(share / 2)) ? limit : 0,
          except: [],
        }
      }
      case 'others':
      case 'all':
      default:
        return { turn: 'others', limit: Math.max(0, others), except: named(list) }
    }
  }

  return {
    get slowRoom() {
      return Math.max(0, most - heldBy(slow()))
    },
    next({ free, whole, fresh }) {
      const list = slow()
      if (list.length === 0) {
        turn = 'all'
        return { turn, limit: whole, except: [] }
      }
      if (fresh || turn === 'all') turn = 'others'
      const given = grant(list, free)
      if (given.turn !== 'shares' || given.limit > 0) return given
      turn = hungry ? 'others' : 'borrow'
      return grant(list, free)
    },
    took(done, full) {
      if (done === 'all') return full
      if (done === 'borrow') return full
      if (done === 'others') hungry = full
      turn = done === 'others' ? 'shares' : hungry || full ? 'others' : 'borrow'
      return true
    },
  }
}
