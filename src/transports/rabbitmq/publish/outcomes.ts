import { MersalError } from '../../../core/errors/errors.ts'
import type { PublishOutcome } from '../../../core/transport.ts'

/**
 * The answer to one parcel. `not-taken`: the channel was closed because of an earlier parcel, and
 * the broker ignores whatever follows on a closed channel; so it may be written again at once.
 */
export type Answer = PublishOutcome | { readonly kind: 'not-taken' }

export function unknown(text: string): PublishOutcome {
  return { kind: 'unknown', error: new MersalError('MERSAL_UNKNOWN_OUTCOME', text) }
}

/** Certainly not with the broker. */
export function withdrawn(): PublishOutcome {
  const error = new MersalError(
    'MERSAL_UNAVAILABLE',
    'not sent: the link was busy with earlier messages until it was taken back',
  )
  return { kind: 'unavailable', error, withdrawn: true }
}

export function tooLarge(bytes: number, limit: number): PublishOutcome {
  const error = new MersalError(
    'MERSAL_TOO_LARGE',
    `the message has ${bytes} bytes; the limit is ${limit}`,
    { details: { bytes, limit } },
  )
  return { kind: 'refused', reason: 'too-large', error, permanent: true }
}

/** Nothing of it has been written. `why`: the text of the error that may be shown. */
export function notEncoded(thrown: unknown, why: string): PublishOutcome {
  if (thrown instanceof MersalError && thrown.code === 'MERSAL_TOO_LARGE')
    return { kind: 'refused', reason: 'too-large', error: thrown, permanent: true }
  const error = new MersalError('MERSAL_REFUSED', `the message cannot be written as AMQP: ${why}`)
  return { kind: 'refused', reason: 'refused', error, permanent: true }
}
