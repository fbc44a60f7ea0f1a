import { MersalError, isMersalError } from '../core/errors.ts'
import type { Delivery, Disposition } from '../core/transport.ts'
import { toError } from '../lib/abort.ts'
import { type Backoff, backoffMs } from '../lib/backoff.ts'
import type { Random } from '../lib/clock.ts'
import { requestedDelay } from './steer.ts'

export interface RetryPolicy {
  /** Tries again at once, after the first one. */
  readonly immediateRetries: number
  /** Deliveries before the message is given up. */
  readonly maxDeliveries: number
  readonly backoff: Backoff
  readonly random: Random
}

/**
 * Tries to handle a delivery: a few times at once, then again later, at last as a dead letter.
 * `attempt` gets the number of the try, counted over all deliveries. `given up` means that the
 * transport has lost the message or the app is stopped by force: then nothing is judged.
 */
export async function withRetries(
  policy: RetryPolicy,
  delivery: Delivery,
  isGivenUp: () => boolean,
  attempt: (number: number) => Promise<Disposition>,
): Promise<Disposition> {
  if (delivery.attempt > policy.maxDeliveries) return killsHandler(policy, delivery)
  const first = (delivery.attempt - 1) * (policy.immediateRetries + 1) + 1
  for (let retry = 0; ; retry++) {
    try {
      return await attempt(first + retry)
    } catch (error) {
      if (isGivenUp()) return { kind: 'release' }
      if (retry < policy.immediateRetries && worthAnotherTry(error)) continue
      return judge(policy, delivery, error)
    }
  }
}

function worthAnotherTry(error: unknown): boolean {
  const steering = ['MERSAL_REJECTED', 'MERSAL_RETRY_LATER', 'MERSAL_HANDLER_TIMEOUT'] as const
  return !steering.some((code) => isMersalError(error, code))
}

function judge(policy: RetryPolicy, delivery: Delivery, thrown: unknown): Disposition {
  const error = toError(thrown)
  if (isMersalError(thrown, 'MERSAL_REJECTED')) return { kind: 'reject', reason: 'rejected', error }
  if (delivery.attempt >= policy.maxDeliveries) {
    const text = `the handler failed on the last of ${policy.maxDeliveries} deliveries: ${error.message}`
    return { kind: 'reject', reason: 'handler-failed', error: new MersalError('MERSAL_HANDLER_FAILED', text, { cause: error }) }
  }
  return { kind: 'retry', delayMs: requestedDelay(thrown) ?? backoffMs(policy.backoff, delivery.attempt, policy.random), error }
}

function killsHandler(policy: RetryPolicy, delivery: Delivery): Disposition {
  const text = `delivery ${delivery.attempt} of at most ${policy.maxDeliveries}, and none of the earlier ones ended: its handler probably ends the process`
  return { kind: 'reject', reason: 'kills-handler', error: new MersalError('MERSAL_HANDLER_FAILED', text) }
}

/** The longest time between the first delivery and the end of the last one, in milliseconds. */
export function longestRedeliveryMs(policy: Omit<RetryPolicy, 'random'>, handlerTimeoutMs: number): number {
  let total = policy.maxDeliveries * (policy.immediateRetries + 1) * handlerTimeoutMs
  for (let delivery = 1; delivery < policy.maxDeliveries; delivery++) total += backoffMs(policy.backoff, delivery, () => 1)
  return total
}
