import {
  checkRetryIf,
  LONGEST_ANSWER_MS,
  retryChoices,
} from '../../../core/errors/retry-choices.ts'
import { checkBackoff, checkNumber, checkOptions, invalidOption } from '../../../core/options.ts'
import type { Logger } from '../../../core/telemetry.ts'
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
  const { backoff, maxAttempts } = given
  checkRetryIf(field, given)
  const bounds = { default: receive.maxDeliveries, min: 1, max: 10_000 }
  const { name: app, logger } = facts
  const retries = {
    maxDeliveries: checkNumber(`${field}.maxAttempts`, maxAttempts, bounds),
    immediateRetries: maxAttempts === undefined ? receive.immediateRetries : 0,
    backoff: backoffOf(`${field}.backoff`, backoff, receive.backoff),
  }
  return {
    ...retries,
    giveUpAfterMs: giveUpAfterMs(
      field,
      typeof backoff === 'function' ? longest(retries) : retries,
      facts,
    ),
    choices: retryChoices(field, given, (fields, text) => logger.error({ app, ...fields }, text)),
  }
}

function backoffOf(field: string, given: RetryOptions['backoff'], preset: Backoff): Backoff {
  if (given === undefined || typeof given === 'function') return preset
  return checkBackoff(field, given, { preset, leastMs: 0 })
}

/** As long as a function may answer, or as the app waits where it answers nothing. */
function longest<Retries extends Pick<RetryPolicy, 'backoff'>>(retries: Retries): Retries {
  const longestMs = Math.max(LONGEST_ANSWER_MS, retries.backoff.longestMs)
  return { ...retries, backoff: { firstMs: longestMs, longestMs } }
}

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
