import type { DeadReason } from '../../core/dead-letter.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import { type MessageType, headerNames } from '../../core/messages/message.ts'
import type { Serializer } from '../../core/messages/serializer.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { printable } from '../../lib/text.ts'
import { validateBody } from '../send/body.ts'
import { reads } from '../send/content-type.ts'

type Rejection = Extract<Disposition, { kind: 'reject' }>

/** The body of a message that can be handled, or why the message never can be. */
export type Decoded = { readonly kind: 'decoded'; readonly body: unknown } | Rejection

/**
 * Opens a delivery. Rejects it if it has no id or no type, if no handler takes the type, if the
 * bytes are not what the content type says, or if the schema refuses the body. Throws only if the
 * schema itself failed, since another try may succeed then.
 */
export async function decode(
  delivery: Delivery,
  type: MessageType | undefined,
  serializer: Serializer,
): Promise<Decoded> {
  const { message, queue } = delivery
  const missing = message.id === '' ? 'id' : message.type === '' ? 'type' : undefined
  if (missing !== undefined)
    return refuse(
      'malformed',
      new MersalError('MERSAL_INVALID_MESSAGE', `the message came without ${missing}`),
    )
  if (type === undefined) {
    const text = `no handler for '${printable(message.type)}' at the queue '${queue}': register one before start(). If it had one that was removed, its subscription is still there: take it back with app.unsubscribe(type)`
    return refuse('unknown-type', new MersalError('MERSAL_UNKNOWN_TYPE', text))
  }
  const contentType = message.headers[headerNames.contentType]
  if (!reads(serializer.contentType, contentType))
    return refuse('undecodable', foreignContent(type, serializer, contentType))
  let body: unknown
  try {
    body = serializer.decode(message.body)
  } catch (cause) {
    return refuse('undecodable', undecodable(type, cause))
  }
  try {
    return { kind: 'decoded', body: await validateBody(type, body) }
  } catch (error) {
    if (isMersalError(error, 'MERSAL_INVALID_BODY') && error.cause === undefined)
      return refuse('invalid', error)
    throw error
  }
}

function foreignContent(
  type: MessageType,
  { contentType: own }: Serializer,
  given: string | undefined,
): MersalError {
  const remedy = `let the sender write '${own}', or give this app the serializer of the sender (option 'serializer')`
  const text = `'${type.name}' came with the content type '${printable(given ?? '')}', and this app reads '${own}': ${remedy}`
  return new MersalError('MERSAL_DECODE', text, {
    details: { type: type.name, contentType: given },
  })
}

function undecodable(type: MessageType, cause: unknown): MersalError {
  if (isMersalError(cause)) return cause
  return new MersalError('MERSAL_DECODE', `the body of '${type.name}' cannot be read`, { cause })
}

function refuse(reason: DeadReason, error: Error): Rejection {
  return { kind: 'reject', reason, error }
}
