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
  /** Leaves the mark in the transaction that is open in this very tick. */
  readonly leave: (mark: string) => Promise<unknown>
  /** Sends, if the transaction still has the mark. */
  readonly later: (mark: string) => Promise<Result>
}

interface Lane {
  readonly mark: string
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
      const going =
        before === undefined
          ? start(steps, lane.mark)
          : before.tail.then(() => steps.later(before.mark))
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

async function start<Result>(
  { atOnce, leave, later }: LaneSteps<Result>,
  mark: string,
): Promise<Result> {
  if (atOnce !== undefined) return atOnce(mark)
  await leave(mark)
  return later(mark)
}
