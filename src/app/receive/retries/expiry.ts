import { expired, isExpired } from '../../../core/messages/expiry.ts'
import { emit, type Logger } from '../../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../../core/transport.ts'
import type { Clock } from '../../../lib/async/clock.ts'
import { printable } from '../../../lib/text.ts'

interface ExpiryFacts {
  /** Name of the app. */
  readonly name: string
  readonly logger: Logger
  readonly clock: Clock
  readonly receive: { readonly onExpired: 'discard' | 'dead-letter' }
}

/** What becomes of a message whose time is over; undefined if it may be handled. */
export function dispositionOfExpired(
  { name: app, logger, clock, receive }: ExpiryFacts,
  { message, queue }: Delivery,
): Disposition | undefined {
  if (!isExpired(message, clock.now())) return undefined
  const { id, type } = message
  emit('mersal:expired', () => ({ app, id, type, place: queue, by: 'receiver' }))
  if (receive.onExpired === 'dead-letter')
    return { kind: 'reject', reason: 'expired', error: expired(message) }
  const fields = { app, id: printable(id), type: printable(type), queue }
  logger.debug(fields, 'a message had expired and was not handled')
  return { kind: 'ack' }
}
