import { errorFields } from '../../../core/errors/error-text.ts'
import { checkBackoff, checkNumber, checkOptions, invalidOption } from '../../../core/options.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { kindOfAnswer } from '../../../lib/async/late-answer.ts'
import type { Backoff } from '../../../lib/async/backoff.ts'
import type { RetryOptions } from '../../types.ts'
import { type RetryPolicy, longestRetriesMs } from '../retry.ts'

/** The retries of one type: those of the app where it has no other wish. */
export type TypeRetries = Omit<RetryPolicy, 'random'>

/** What the retries of a type depend on. */
export interface RetryFacts {
  readonly name: string
  readonly logger: Logger
  readonly receive: TypeRetries & { readonly handlerTimeoutMs: number }
  /** Undefined for an app without an inbox. */
  readonly tracker: unknown
  readonly retentionMs: number
}

/** A longer answer of a function is cut to this, in milliseconds. */
const LONGEST_ANSWER_MS = 3_600_000

/** Throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function retriesOf(
  call: string,
  given: RetryOptions | undefined,
  facts: RetryFacts,
): TypeRetries {
  const { receive } = facts
  if (given === undefined) return receive
  const field = `${call}.retry`
  checkOptions(field, given, ['maxAttempts', 'backoff', 'retryIf'])
  const { backoff, retryIf, maxAttempts } = given
  if (retryIf !== undefined && typeof retryIf !== 'function')
    throw invalidOption(`${field}.retryIf`, 'expected a function')
  const bounds = { default: receive.maxDeliveries, min: 1, max: 10_000 }
  const asked = typeof backoff === 'function' ? backoff : undefined
  const retries = {
    maxDeliveries: checkNumber(`${field}.maxAttempts`, maxAttempts, bounds),
    immediateRetries: maxAttempts === undefined ? receive.immediateRetries : 0,
    backoff: backoffOf(`${field}.backoff`, backoff, receive.backoff),
  }
  return {
    ...retries,
    giveUpAfterMs: giveUpAfterMs(field, asked === undefined ? retries : hourly(retries), facts),
    choices: {
      wants: retryIf && safely(facts, `${field}.retryIf`, retryIf, isBoolean),
      delayMs: asked && safely(facts, `${field}.backoff`, atMostAnHour(asked), isDuration),
    },
  }
}

function backoffOf(field: string, given: RetryOptions['backoff'], preset: Backoff): Backoff {
  if (given === undefined || typeof given === 'function') return preset
  return checkBackoff(field, given, { preset, leastMs: 0 })
}

const hourly = <Retries>(retries: Retries): Retries & { readonly backoff: Backoff } => ({
  ...retries,
  backoff: { firstMs: LONGEST_ANSWER_MS, longestMs: LONGEST_ANSWER_MS },
})

/** The inbox must remember a message longer than it may be delivered again. */
function giveUpAfterMs(
  field: string,
  retries: Pick<RetryPolicy, 'maxDeliveries' | 'immediateRetries' | 'backoff'>,
  { receive, tracker, retentionMs }: RetryFacts,
): number {
  if (tracker === undefined) return receive.giveUpAfterMs
  const left = retentionMs - Math.ceil(longestRetriesMs(retries, receive.handlerTimeoutMs))
  if (left >= 0) return Math.min(receive.giveUpAfterMs, left)
  const text = `the tries may take ${-left} ms longer than the inbox remembers a message (idempotency.retentionMs is ${retentionMs} ms): a duplicate could be handled twice. Lower maxAttempts, or raise idempotency.retentionMs`
  throw invalidOption(field, text)
}

const atMostAnHour =
  (backoff: (attempt: number, error: unknown) => number) =>
  (attempt: number, error: unknown): number => {
    const answer = backoff(attempt, error)
    return answer > LONGEST_ANSWER_MS ? LONGEST_ANSWER_MS : answer
  }

const isBoolean = (answer: unknown): answer is boolean => typeof answer === 'boolean'
const isDuration = (answer: unknown): answer is number => typeof answer === 'number' && answer >= 0

/**
 * A function of the user that decides on retries must not lose a message: where it throws, or gives
 * an answer of another kind, that is logged, and undefined stands for its answer.
 */
function safely<Parameters extends readonly unknown[], Answer>(
  { name: app, logger }: RetryFacts,
  what: string,
  decide: (...parameters: Parameters) => Answer,
  fits: (answer: unknown) => answer is Answer,
): (...parameters: Parameters) => Answer | undefined {
  const text = `${what} is of no use here; the message is retried as the app does it by default`
  return (...parameters) => {
    try {
      const answer = decide(...parameters)
      if (fits(answer)) return answer
      logger.error({ app, answer: `it returned ${kindOfAnswer(answer)}` }, text)
    } catch (error) {
      logger.error({ app, ...errorFields(error) }, text)
    }
    return undefined
  }
}
