import { randomBytes } from 'node:crypto'

/**
 * What is done for one call in a transaction of somebody else. `mark` is random, and names the
 * calls that belong together.
 */
export interface LaneSteps<Result> {
  /**
   * Sends in this very tick, before its caller can send a ROLLBACK. Undefined: what is to be sent
   * is not known yet.
   */
  readonly atOnce: ((mark: string) => Promise<Result>) | undefined
  /**
   * Leaves the mark in the transaction that is open in this very tick, unless that one has the mark
   * of the calls before. Answers which of them it has.
   */
  readonly leave: (mark: string, before: string | undefined) => Promise<string>
  /** Sends, if the transaction still has the mark. */
  readonly later: (mark: string) => Promise<Result>
}

interface Lane {
  mark: string
  tail: Promise<unknown>
  waiting: number
}

/**
 * Runs the calls on one handle one after another, in their order, and ties each to the transaction
 * that was open when it came.
 */
export interface Lanes {
  run<Result>(handle: unknown, steps: LaneSteps<Result>): Promise<Result>
  /** Whether a call on this handle has not ended yet. */
  busy(handle: unknown): boolean
}

const processMark = randomBytes(8).toString('hex')
let count = 0

/** A text that nobody else has. No part of another one. */
export const newMark = (): string => `${processMark}.${(count++).toString(36)},`

export function lanes(): Lanes {
  const busy = new WeakMap<object, Lane>()
  return {
    busy: (handle) => busy.has(handle as object),
    async run(handle, steps) {
      const key = handle as object
      const before = busy.get(key)
      const lane = before ?? { mark: newMark(), tail: Promise.resolve(), waiting: 0 }
      const going = before === undefined ? start(steps, lane.mark) : join(steps, before)
      busy.set(key, lane)
      lane.waiting++
      // The next one needs the turn, not the result.
      lane.tail = going.catch(() => {})
      try {
        return await going
      } finally {
        lane.waiting--
        if (lane.waiting === 0) busy.delete(key)
      }
    },
  }
}

/**
 * The calls before may belong to an earlier transaction of the handle, in which somebody has
 * forgotten them: what they have left proves nothing here.
 */
async function join<Result>(
  { leave, later }: Pick<LaneSteps<Result>, 'leave' | 'later'>,
  lane: Lane,
): Promise<Result> {
  const { tail } = lane
  const leaving = leave(newMark(), lane.mark)
  leaving.catch(() => {}) // it is looked at below
  await tail
  lane.mark = await leaving
  return later(lane.mark)
}

async function start<Result>(
  { atOnce, leave, later }: LaneSteps<Result>,
  mark: string,
): Promise<Result> {
  if (atOnce !== undefined) return atOnce(mark)
  return later(await leave(mark, undefined))
}
