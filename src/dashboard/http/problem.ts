import { causesOf } from '../../core/errors/causes.ts'
import { codesOf } from '../../core/errors/error-text.ts'
import { isMersalError } from '../../core/errors/errors.ts'

/** An answer that is no result: what a client is told, in words of our own. */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly status: number
  readonly code: string

  /** `cause`: what went wrong, for the log alone. */
  constructor(status: number, code: string, text: string, cause?: unknown) {
    super(text, { cause })
    this.status = status
    this.code = code
  }
}

/** It is called by other methods, which the answer names. */
export class WrongMethod extends Problem {
  readonly allow: string

  constructor(methods: readonly string[]) {
    super(405, 'wrong-method', 'This is not how it is called.')
    this.allow = methods.join(', ')
  }
}

export const problem = (status: number, code: string, text: string, cause?: unknown): Problem =>
  new Problem(status, code, text, cause)

/**
 * What is told of any failure: of one that is not ours the code alone, since even a masked text of a
 * server may name what nobody should read here.
 */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown
  return problem(503, isBusy(thrown) ? 'busy' : 'away', awayText(thrown), thrown)
}

/** It is there, and had no time: a lock, a slow statement, no free connection. */
export const isBusy = (thrown: unknown): boolean => isMersalError(thrown, 'MERSAL_STORE_BUSY')

/** Why a database or a broker has no answer. */
export function awayText(thrown: unknown): string {
  if (thrown instanceof Problem) return thrown.message
  if (isMersalError(thrown, 'MERSAL_SCHEMA_TOO_NEW'))
    return 'Its tables are newer than this version of Mersal.'
  if (isBusy(thrown)) return 'The database did not answer in time: it is busy, or locked.'
  const codes = [...new Set(causesOf(thrown).flatMap(codesOf))]
  const text = codes.length === 0 ? 'an error without a code' : codes.slice(0, 3).join(', ')
  return `It does not answer as it should (${text}).`
}
