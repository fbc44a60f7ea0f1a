import type { Message } from 'amqplib'
import type { Disposition } from '../../../core/transport.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { deliver, type OnDelivery, postponedField } from '../../shared/deliver.ts'
import { headerTable, numberIn, ownHeaders, toEnvelope } from '../publish/envelope.ts'

/** A message that is handed to the app. */
export interface Asked {
  readonly message: Message
  readonly queue: string
  readonly attempt: number
  readonly givingUp: GivingUp
}

/** What the app decides about a message. Never rejects. */
export function ask(
  onDelivery: OnDelivery,
  { message, queue, attempt, givingUp }: Asked,
): Promise<Disposition> {
  const since = numberIn(headerTable(message), ownHeaders.postponedSince, 0, -1)
  return deliver(onDelivery, {
    ...postponedField(since < 0 ? undefined : since),
    message: toEnvelope(message),
    queue,
    attempt,
    givingUp,
    get signal() {
      return givingUp.signal
    },
  })
}
