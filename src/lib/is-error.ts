import { types } from 'node:util'

/**
 * An error of any realm. Jest runs code in realms of its own, where errors of Node are no `Error`.
 */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || types.isNativeError(value)
