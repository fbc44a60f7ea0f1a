import { expect } from 'vitest'
import { type ErrorCode, MersalError } from '../../../src/index.ts'

/**
 * The `MersalError` with this code that the promise rejects with; fails if it does anything else.
 */
export async function rejection(promise: Promise<unknown>, code: ErrorCode): Promise<MersalError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if (!('error' in outcome)) throw new Error(`expected ${code}, but it resolved`)
  expect(outcome.error).toBeInstanceOf(MersalError)
  expect((outcome.error as MersalError).code).toBe(code)
  return outcome.error as MersalError
}
