import { expired, isExpired, type OnExpired } from '../../../core/messages/expiry.ts'
import { emit, type Logger } from '../../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../../core/transport.ts'
import type { Clock } from '../../../lib/async/clock.ts'
import { printable } from '../../../lib/text.ts'

interface ExpiryFacts {
  /** Name of the app. */
  readonly name: string
  readonly logger: Logger
  readonly clock: Clock
  readonly receive: { readonly onExpired: OnExpired }
}

/**
 * What becomes of a message of which nobody has to ask the inbox, because it goes in any case;
 * undefined if it may be handled, or may have been handled.
 */
export function withoutAsking(
  { clock, receive }: Pick<ExpiryFacts, 'clock' | 'receive'>,
  { message }: Delivery,
): Disposition | undefined {
  if (receive.onExpired === 'dead-letter' || !isExpired(message, clock.now())) return undefined
  return { kind: 'reject', reason: 'expired', error: expired(message) }
}

export function hasExpired(disposition: Disposition): boolean {
  return disposition.kind === 'reject' && disposition.reason === 'expired'
}

/** Says that a message has expired, and what becomes of it. */
export function settleExpired(
  { name: app, logger, receive }: ExpiryFacts,
  { message: { id, type }, queue }: Delivery,
  disposition: Disposition,
): Disposition {
  emit('mersal:expired', () => ({ app, id, type, place: queue, by: 'receiver' }))
  if (receive.onExpired === 'dead-letter') return disposition
  const fields = { app, id: printable(id), type: printable(type), queue }
  logger.debug(fields, 'a message came after its end, and this delivery of it was not handled')
  return { kind: 'ack' }
}
