import { MersalError } from '../../../core/errors/errors.ts'
import { isDelay } from '../../../core/messages/validation.ts'
import type { Disposition } from '../../../core/transport.ts'

/** A transport could not record anything else, however often it tried. */
function isDisposition(given: Disposition | undefined): boolean {
  switch (given?.kind) {
    case 'ack':
    case 'release':
      return true
    case 'retry': {
      const { delayMs, postponedSince } = given
      return isDelay(delayMs) && (postponedSince === undefined || Number.isFinite(postponedSince))
    }
    case 'reject':
      return typeof given.reason === 'string'
    case undefined:
    default:
      return false
  }
}

/** What the steps of the user made of a delivery; throws if it is nothing that can be recorded. */
export function checked(disposition: Disposition): Disposition {
  if (isDisposition(disposition)) return disposition
  throw new MersalError(
    'MERSAL_INVALID_OPTIONS',
    'an incoming step must return the disposition that next() gave it, or one of its own',
  )
}
