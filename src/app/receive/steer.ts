import { readProperty } from '../../core/errors/causes.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import { uncharged } from '../contracts/codecs.ts'
import { isError } from '../../lib/is-error.ts'
import { LONGEST_DELAY_MS, isDelay } from '../../core/messages/validation.ts'

/**
 * Ends this attempt of a handler and asks for the message again after `ms` milliseconds, from 0 to
 * a year. The transaction is rolled back. It is no failure, and no delivery is counted. The message
 * becomes a dead letter `receive.giveUpAfterMs` after the first wish.
 *
 * Throws `MERSAL_RETRY_LATER`, so nothing after it runs, or `MERSAL_INVALID_OPTIONS` for another
 * delay.
 */
export function retryLater(ms: number, cause?: unknown): never {
  if (!isDelay(ms)) {
    const text = `retryLater: expected milliseconds from 0 to ${LONGEST_DELAY_MS} (a year)`
    throw new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field: 'retryLater' } })
  }
  throw new MersalError(
    'MERSAL_RETRY_LATER',
    `the handler asked for the message again in ${ms} ms${because(cause)}`,
    {
      ...(cause === undefined ? {} : { cause }),
      details: { delayMs: ms },
    },
  )
}

/**
 * Ends the handling of this message for good. The transaction is rolled back, and the message
 * becomes a dead letter with the reason `rejected`. Throws `MERSAL_REJECTED`, so nothing after it
 * runs.
 */
export function reject(cause?: unknown): never {
  throw new MersalError(
    'MERSAL_REJECTED',
    `the handler rejected the message${because(cause)}`,
    cause === undefined ? {} : { cause },
  )
}

function because(cause: unknown): string {
  if (cause === undefined) return ''
  const message = isError(cause) ? readProperty(cause, 'message') : undefined
  if (typeof message === 'string') return `: ${message}`
  return typeof cause === 'string' ? `: ${cause}` : ''
}

/**
 * The delay in milliseconds that `retryLater` or a codec asked for; undefined for every other error.
 */
export function requestedDelay(error: unknown): number | undefined {
  if (!isMersalError(error, 'MERSAL_RETRY_LATER')) return uncharged(error)
  const delay = readProperty(error.details, 'delayMs')
  return typeof delay === 'number' ? delay : 0
}
