import { errorFields, stackOf } from '../../core/errors/error-text.ts'
import { isMersalError } from '../../core/errors/errors.ts'
import { type Logger, emit } from '../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { printable } from '../../lib/text.ts'

interface ReportPorts {
  /** Name of the app. */
  readonly name: string
  readonly logger: Logger
}

export interface DeliveryFacts {
  /** Number of the last try, over all deliveries of the message. */
  readonly attempt: number
  /** It was a duplicate, and no handler was called. */
  readonly skipped: boolean
  /** Its time was over, and no handler was called. */
  readonly expired?: boolean
  /** In milliseconds. */
  readonly duration: number
}

/**
 * Says in an event, and where it failed in the log, what became of a delivery. Returns the outcome
 * of the event.
 */
export function reportDelivery(
  { name: app, logger }: ReportPorts,
  delivery: Delivery,
  disposition: Disposition,
  { attempt, skipped, expired = false, duration }: DeliveryFacts,
): string {
  const { id, type } = delivery.message
  const outcome = expired ? 'expired' : outcomeOf(disposition, skipped)
  emit('mersal:handle', () => ({ app, id, type, attempt, outcome, duration }))
  if (disposition.kind === 'retry' || disposition.kind === 'reject')
    logFailure({ name: app, logger }, delivery, disposition)
  return outcome
}

function logFailure(
  { name: app, logger }: ReportPorts,
  delivery: Delivery,
  disposition: Extract<Disposition, { kind: 'retry' | 'reject' }>,
): void {
  const { id, type } = delivery.message
  const { error } = disposition
  const fields = {
    app,
    id: printable(id),
    type: printable(type),
    delivery: delivery.attempt,
    ...errorFields(error),
    stack: stackOf(error),
  }
  if (disposition.kind === 'reject') {
    logger.error({ ...fields, reason: disposition.reason }, 'message became a dead letter')
    return
  }
  const { delayMs, postponedSince } = disposition
  if (isMersalError(error, 'MERSAL_FUTURE_VERSION'))
    logger.warn({ ...fields, delayMs }, 'message waits for a newer version of this app')
  else if (isMersalError(error, 'MERSAL_UNAVAILABLE') && postponedSince !== undefined)
    logger.warn({ ...fields, delayMs }, 'message waits for what its body needs')
  else if (isMersalError(error, 'MERSAL_LIMITED'))
    logger.debug({ ...fields, delayMs }, 'message waits for its limit')
  else if (postponedSince === undefined)
    logger.warn({ ...fields, delayMs }, 'handler failed; the message comes again')
  else logger.debug({ ...fields, delayMs }, 'the handler asked for the message again later')
}

function outcomeOf(disposition: Disposition, skipped: boolean): string {
  switch (disposition.kind) {
    case 'ack':
      return skipped ? 'duplicate' : 'handled'
    case 'reject':
      return disposition.reason
    case 'retry':
      return disposition.postponedSince === undefined ? 'retry' : 'postponed'
    case 'release':
      return 'release'
    default:
      return disposition satisfies never
  }
}
