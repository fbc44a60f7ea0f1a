import { types } from 'node:util'

/**
 * An error of any realm. Jest runs code in realms of its own, where errors of Node are no `Error`.
 * Whatever may be thrown can be asked for, also a Proxy whose traps throw: that is none.
 */
export function isError(value: unknown): value is Error {
  try {
    return types.isNativeError(value) || value instanceof Error
  } catch {
    return false
  }
}
