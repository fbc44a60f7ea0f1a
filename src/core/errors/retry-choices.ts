import type { Backoff } from '../../lib/async/backoff.ts'
import { kindOfAnswer } from '../../lib/async/late-answer.ts'
import { invalidOption } from '../options.ts'
import { errorFields } from './error-text.ts'

/** A longer answer of a function is cut to this, in milliseconds. */
export const LONGEST_ANSWER_MS = 3_600_000

/** What a user decides on each failure of a message. Neither throws; undefined says nothing. */
export interface RetryChoices {
  /** Whether this failure is worth another try. */
  readonly wants: (error: unknown) => boolean | undefined
  /** The time before the next try, in whole milliseconds. */
  readonly delayMs: (attempt: number, error: unknown) => number | undefined
}

/** The functions that a user has given. */
export interface RetryFunctions {
  readonly backoff?: Backoff | ((attempt: number, error: unknown) => number)
  readonly retryIf?: (error: unknown) => boolean
}

/** Logs an error. */
export type Complain = (fields: Readonly<Record<string, unknown>>, text: string) => void

/** Throws `MERSAL_INVALID_OPTIONS` for what can never answer. */
export function checkRetryIf(field: string, { retryIf }: RetryFunctions): void {
  if (retryIf !== undefined && typeof retryIf !== 'function')
    throw invalidOption(`${field}.retryIf`, 'expected a function')
}

/**
 * The functions as they may be asked: they must not lose a message. Where one throws, or answers
 * what is none of its answers, that is logged, and undefined stands for its answer. `otherwise`: what
 * happens then.
 */
export function retryChoices(
  field: string,
  { backoff, retryIf }: RetryFunctions,
  complain: Complain,
  otherwise = 'the message is retried as the app does it by default',
): RetryChoices {
  const say: Complain = (fields, what) =>
    complain(fields, `${what} is of no use here; ${otherwise}`)
  const delay = typeof backoff === 'function' ? backoff : undefined
  const wants = retryIf && safely(`${field}.retryIf`, retryIf, isBoolean, say)
  const delayMs = delay && safely(`${field}.backoff`, delay, isDuration, say)
  return {
    wants: (error) => wants?.(error),
    delayMs(attempt, error) {
      const answer = delayMs?.(attempt, error)
      return answer === undefined ? undefined : Math.ceil(Math.min(answer, LONGEST_ANSWER_MS))
    },
  }
}

const isBoolean = (answer: unknown): answer is boolean => typeof answer === 'boolean'
const isDuration = (answer: unknown): answer is number => typeof answer === 'number' && answer >= 0

function safely<Parameters extends readonly unknown[], Answer>(
  what: string,
  decide: (...parameters: Parameters) => Answer,
  fits: (answer: unknown) => answer is Answer,
  complain: Complain,
): (...parameters: Parameters) => Answer | undefined {
  return (...parameters) => {
    try {
      const answer: unknown = decide(...parameters)
      if (fits(answer)) return answer
      complain({ answer: `it returned ${kindOfAnswer(answer)}` }, what)
    } catch (error) {
      complain(errorFields(error), what)
    }
    return undefined
  }
}
