import { isMersalError } from '../../../core/errors/errors.ts'
import type { PublishOutcome } from '../../../core/transport.ts'
import { refusedForGood } from '../../shared/outcomes.ts'

/**
 * The answer to one parcel. `not-taken`: the channel was closed because of an earlier parcel, and
 * the broker ignores whatever follows on a closed channel; so it may be written again at once.
 */
export type Answer = PublishOutcome | { readonly kind: 'not-taken' }

/** Nothing of it has been written. `why`: the text of the error that may be shown. */
export function notEncoded(thrown: unknown, why: string): PublishOutcome {
  if (isMersalError(thrown, 'MERSAL_TOO_LARGE'))
    return { kind: 'refused', reason: 'too-large', error: thrown, permanent: true }
  return refusedForGood(`the message cannot be written as AMQP: ${why}`)
}
