import { checkNumber } from '../../core/options.ts'

/** The number behind the key of a dead letter, or undefined if no dead letter can have this key. */
function letterNumber(key: string): number | undefined {
  const number = /^[1-9]\d{0,15}$/.test(key) ? Number(key) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

/**
 * Applies the change to each key, the oldest first, and returns to how many it applied. A key that
 * names nothing counts as none.
 */
export function countEach(keys: readonly string[], change: (key: number) => boolean): number {
  const numbers = keys.map(letterNumber).filter((key) => key !== undefined)
  return numbers.sort((left, right) => left - right).filter((key) => change(key)).length
}

/**
 * Which part of the dead letters a `list` shows; undefined if it is empty for sure. Throws on a
 * limit out of bounds.
 */
export function listRange(query: {
  readonly limit?: number
  readonly after?: string
}): { after: number; limit: number } | undefined {
  const limit = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
  const after = query.after === undefined ? 0 : letterNumber(query.after)
  return after === undefined ? undefined : { after, limit }
}
