import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { RetryChoices } from '../../core/errors/retry-choices.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { waitsUncharged } from '../contracts/codecs.ts'
import { requestedDelay } from './steer.ts'

export interface RetryPolicy {
  /** Tries at once after the first one. */
  readonly immediateRetries: number
  /** Deliveries before the message is given up. */
  readonly maxDeliveries: number
  readonly backoff: Backoff
  /** How long a handler may ask for the message again, in milliseconds from its first wish. */
  readonly giveUpAfterMs: number
  readonly random: Random
  /** What the user decides for each failure. They do not throw; undefined says nothing. */
  readonly choices?: RetryChoices
}

/** What decides on a try that has failed. */
export interface RetryPorts {
  /** True if the transport has lost the message or the app is stopped by force. */
  readonly isGivenUp: () => boolean
  /** Whether the failure counts for the message: `again` and `release` do not count it. */
  readonly excuse: (error: unknown) => Promise<'charge' | 'again' | 'release'>
  readonly clock: Clock
}

/**
 * Tries to handle a delivery: a few times at once, then again later, at last as a dead letter.
 * `attempt` gets the number of the try, counted over all deliveries.
 */
export async function withRetries(
  policy: RetryPolicy,
  delivery: Delivery,
  ports: RetryPorts,
  attempt: (number: number) => Promise<Disposition>,
): Promise<Disposition> {
  if (delivery.attempt > policy.maxDeliveries) return killsHandler(policy, delivery)
  const first = (delivery.attempt - 1) * (policy.immediateRetries + 1) + 1
  for (let retry = 0; ; ) {
    try {
      return await attempt(first + retry)
    } catch (error) {
      if (ports.isGivenUp()) return { kind: 'release' }
      const verdict = await ports.excuse(error)
      if (verdict === 'release' || ports.isGivenUp()) return { kind: 'release' }
      if (verdict === 'again') continue
      const wanted = isSteering(error) || policy.choices?.wants(error) !== false
      const failure = { error, wanted, attempt: first + retry, now: ports.clock.now() }
      if (retry === policy.immediateRetries || !wanted || !worthTryingAtOnce(error))
        return judge(policy, delivery, failure)
      retry++
    }
  }
}

const steering = [
  'MERSAL_TRANSACTION_ENDED',
  'MERSAL_REJECTED',
  'MERSAL_RETRY_LATER',
  'MERSAL_FUTURE_VERSION',
  'MERSAL_EXPIRED',
] as const

/** Whether the error says by itself what becomes of the message. */
function isSteering(error: unknown): boolean {
  return steering.some((code) => isMersalError(error, code)) || waitsUncharged(error)
}

function worthTryingAtOnce(error: unknown): boolean {
  return !isSteering(error) && !isMersalError(error, 'MERSAL_HANDLER_TIMEOUT')
}

interface FailedTry {
  readonly error: unknown
  /** False if the user asks for no other try. */
  readonly wanted: boolean
  /** Number of the try. */
  readonly attempt: number
  /** Milliseconds since the Unix epoch. */
  readonly now: number
}

function judge(policy: RetryPolicy, delivery: Delivery, failure: FailedTry): Disposition {
  const { error: thrown, now } = failure
  const error = toError(thrown)
  if (isMersalError(thrown, 'MERSAL_TRANSACTION_ENDED'))
    return { kind: 'reject', reason: 'transaction-ended', error }
  if (isMersalError(thrown, 'MERSAL_REJECTED')) return { kind: 'reject', reason: 'rejected', error }
  if (isMersalError(thrown, 'MERSAL_EXPIRED')) return { kind: 'reject', reason: 'expired', error }
  if (isMersalError(thrown, 'MERSAL_FUTURE_VERSION'))
    return awaitDeployment(policy, delivery.postponedSince ?? now, now, thrown)
  const wished = requestedDelay(thrown)
  if (wished !== undefined)
    return postpone(policy, { since: delivery.postponedSince ?? now, now, wished }, error)
  return charge(policy, delivery, { ...failure, error })
}

function charge(
  policy: RetryPolicy,
  delivery: Delivery,
  { error, wanted, attempt }: FailedTry & { readonly error: Error },
): Disposition {
  const { maxDeliveries, backoff, random, choices } = policy
  const givenUp = (text: string): Disposition => ({
    kind: 'reject',
    reason: 'handler-failed',
    error: new MersalError('MERSAL_HANDLER_FAILED', `${text}: ${error.message}`, { cause: error }),
  })
  if (!wanted) return givenUp('the handler failed, and retryIf asks for no other try')
  if (delivery.attempt >= maxDeliveries)
    return givenUp(`the handler failed on the last of ${maxDeliveries} deliveries`)
  const delayMs = choices?.delayMs(attempt, error) ?? backoffMs(backoff, delivery.attempt, random)
  return { kind: 'retry', delayMs, error }
}

interface Wish {
  /**
   * When the first wish of this message was made, and this one, in milliseconds since the Unix
   * epoch.
   */
  readonly since: number
  readonly now: number
  readonly wished: number
}

/**
 * Grants a wish until its time is up. A wish does not count as a failure. The last delivery comes
 * at the moment when the time is up.
 */
function postpone(
  { giveUpAfterMs }: RetryPolicy,
  { since, now, wished }: Wish,
  error: Error,
): Disposition {
  // A clock that went back, or another process with a wrong one, must not make it wait longer.
  const left = giveUpAfterMs - Math.max(0, now - since)
  if (left > 0)
    return {
      kind: 'retry',
      delayMs: Math.min(wished, left),
      error,
      postponedSince: Math.min(since, now),
    }
  const text = `the handler asked for the message again and again for ${giveUpAfterMs} ms (receive.giveUpAfterMs): ${error.message}`
  return {
    kind: 'reject',
    reason: 'postponed-too-long',
    error: new MersalError('MERSAL_HANDLER_FAILED', text, { cause: error }),
  }
}

/** A deployment that goes on replaces the older consumers within this time, in milliseconds. */
const DEPLOYMENT_MS = 3_600_000

/**
 * A body of a later version than this app knows waits for the app to be replaced, without being
 * charged: for as long as it has waited already, from a second to a minute.
 */
function awaitDeployment(
  { giveUpAfterMs }: RetryPolicy,
  since: number,
  now: number,
  error: Error,
): Disposition {
  const waited = Math.max(0, now - since)
  if (waited >= Math.min(DEPLOYMENT_MS, giveUpAfterMs))
    return { kind: 'reject', reason: 'future-version', error }
  const delayMs = Math.min(Math.max(waited, 1000), 60_000)
  return { kind: 'retry', delayMs, error, postponedSince: Math.min(since, now) }
}

function killsHandler(policy: RetryPolicy, delivery: Delivery): Disposition {
  const text = `delivery ${delivery.attempt} of at most ${policy.maxDeliveries}, and none of the earlier ones ended: its handler probably ends the process`
  return {
    kind: 'reject',
    reason: 'kills-handler',
    error: new MersalError('MERSAL_HANDLER_FAILED', text),
  }
}

/**
 * The longest time between the first delivery and the end of the last one, in milliseconds. Does
 * not count the wishes of the handler.
 */
export function longestRetriesMs(
  policy: Pick<RetryPolicy, 'immediateRetries' | 'maxDeliveries' | 'backoff'>,
  handlerTimeoutMs: number,
): number {
  let total = policy.maxDeliveries * (policy.immediateRetries + 1) * handlerTimeoutMs
  for (let delivery = 1; delivery < policy.maxDeliveries; delivery++)
    total += backoffMs(policy.backoff, delivery, () => 1)
  return total
}
