import {
  checkRetryIf,
  type Complain,
  LONGEST_ANSWER_MS,
  retryChoices,
  type RetryChoices,
} from '../core/errors/retry-choices.ts'
import {
  checkBackoff,
  checkNamed,
  checkNumber,
  checkOptions,
  invalidOption,
} from '../core/options.ts'
import { isName, nameRule } from '../core/messages/validation.ts'
import type { Backoff } from '../lib/async/backoff.ts'

/**
 * When messages of one type are published again after a refusal. A refusal for good, and whatever
 * is no refusal, asks nobody. What a function throws, or answers beside what is documented, is
 * logged as an error, and the message is tried again as if there were no function.
 */
export interface RefusalOptions {
  /** Refusals after which the message becomes a dead letter. From 1 to 10,000. Default: of all. */
  readonly maxAttempts?: number
  /**
   * Waiting time after a refusal: a backoff with jitter, or a function that answers at once, in
   * milliseconds, at most an hour. It gets the number of the attempt, from 1, and the error of the
   * refusal. Default: `retry`.
   */
  readonly backoff?: Backoff | ((attempt: number, error: unknown) => number)
  /**
   * False makes the message a dead letter at once, with the reason of the refusal. It must answer
   * at once. Default: tried again.
   */
  readonly retryIf?: (error: unknown) => boolean
}

/** What holds for messages of a type. */
export interface TypeRetries {
  readonly maxAttempts: number
  readonly retry: Backoff
}

/** As it was given, for the functions. */
interface OwnRetries extends TypeRetries {
  readonly field: string
  readonly given: RefusalOptions
}

/** By type of the message. */
export type RetriesByType = ReadonlyMap<string, OwnRetries>

interface WithRetries extends TypeRetries {
  readonly retries: RetriesByType
}

const MOST_TYPES = 10_000

/** Throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function checkRetries(
  where: string,
  given: Readonly<Record<string, RefusalOptions>> | undefined,
  preset: TypeRetries,
): RetriesByType {
  if (given === undefined) return new Map()
  checkNamed(where, given, 'retries')
  const entries = Object.entries(given)
  if (entries.length > MOST_TYPES) throw invalidOption(where, `has more than ${MOST_TYPES} types`)
  return new Map(entries.map(([type, one]) => [type, ownRetries(where, type, one, preset)]))
}

function ownRetries(
  where: string,
  type: string,
  given: RefusalOptions,
  preset: TypeRetries,
): OwnRetries {
  const field = `${where}.${type.slice(0, 100)}`
  if (!isName(type)) throw invalidOption(field, `the name of a type is ${nameRule}`)
  checkOptions(field, given, ['maxAttempts', 'backoff', 'retryIf'])
  checkRetryIf(field, given)
  const { backoff, maxAttempts } = given
  const bounds = { default: preset.maxAttempts, min: 1, max: 10_000 }
  return {
    field,
    given,
    maxAttempts: checkNumber(`${field}.maxAttempts`, maxAttempts, bounds),
    retry:
      typeof backoff === 'function'
        ? preset.retry
        : checkBackoff(`${field}.backoff`, backoff, { preset: preset.retry, leastMs: 1 }),
  }
}

export function retriesOfType(settings: WithRetries, type: string): TypeRetries {
  return settings.retries.get(type) ?? settings
}

/** No refusal lets a message of any type wait longer, in milliseconds. */
export function longestRetryMs({ retry, retries }: WithRetries): number {
  const own = [...retries.values()].map(({ given: { backoff }, retry: { longestMs } }) =>
    typeof backoff === 'function' ? Math.max(longestMs, LONGEST_ANSWER_MS) : longestMs,
  )
  return Math.max(retry.longestMs, ...own)
}

const OTHERWISE = 'the message is tried again as others are'

/** The functions of the types that have some. */
export function choicesByType(
  retries: RetriesByType,
  complain: Complain,
): ReadonlyMap<string, RetryChoices> {
  return new Map(
    [...retries].map(([type, { field, given }]) => [
      type,
      retryChoices(field, given, complain, OTHERWISE),
    ]),
  )
}
