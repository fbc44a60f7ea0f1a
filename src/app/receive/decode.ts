import type { DeadReason } from '../../core/dead-letter.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { BodyCodec } from '../../core/messages/codec.ts'
import { type MessageType, headerNames } from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { isLateAnswer } from '../../lib/async/late-answer.ts'
import { printable } from '../../lib/text.ts'
import { validateBody } from '../send/body.ts'
import { decodeWith, unshown } from '../contracts/codecs.ts'
import { type Serializers, quoted } from '../contracts/serializers.ts'
import { upcastBody, versionOf } from '../contracts/versions.ts'

type Rejection = Extract<Disposition, { kind: 'reject' }>

/** The body of a message that can be handled, or why the message never can be. */
export type Decoded = { readonly kind: 'decoded'; readonly body: unknown } | Rejection

/** What opens the bodies of an app. */
export interface Opening {
  readonly serializers: Serializers
  readonly codecs: readonly BodyCodec[]
  readonly logger: Logger
}

/**
 * Opens a delivery. Rejects it if it has no id or no type, if no handler takes the type, if the
 * bytes are not what the content type says, or if the schema refuses the body. Throws only if
 * another try may succeed: if the schema itself failed, the body has a version from the future, or
 * a codec cannot tell now.
 */
export async function decode(
  delivery: Delivery,
  type: MessageType | undefined,
  opening: Opening,
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
  let body: unknown
  try {
    body = await open(type, delivery, opening)
  } catch (error) {
    if (isMersalError(error, 'MERSAL_DECODE')) return refuse('undecodable', error)
    throw error
  }
  try {
    return { kind: 'decoded', body: await validateBody(type, body) }
  } catch (error) {
    if (isMersalError(error, 'MERSAL_INVALID_BODY') && error.cause === undefined)
      return refuse('invalid', error)
    throw error
  }
}

/** The body as the present version of the type has it, not yet validated. */
async function open(
  type: MessageType,
  delivery: Delivery,
  { serializers, codecs, logger }: Opening,
): Promise<unknown> {
  const { message } = delivery
  const version = versionOf(type, message)
  const contentType = message.headers[headerNames.contentType]
  const serializer = serializers.reader(type, contentType)
  if (serializer === undefined) throw foreignContent(type, serializers.contentTypes, contentType)
  const bytes = await decodeWith(codecs, message, {
    id: message.id,
    type: type.name,
    logger,
    get signal() {
      return delivery.signal
    },
  })
  let body: unknown
  try {
    body = serializer.decode(bytes)
  } catch (cause) {
    const encoding = message.headers[headerNames.encoding]
    // That of JSON quotes nothing.
    if (encoding !== undefined && serializer !== jsonSerializer)
      throw unshown(`the body of '${type.name}'`, cause, { type: type.name, encoding })
    throw undecodable(type, cause)
  }
  if (isLateAnswer(body)) throw undecodable(type, new TypeError('the serializer has to wait'))
  return upcastBody(type, body, version)
}

function foreignContent(
  type: MessageType,
  known: readonly string[],
  given: string | undefined,
): MersalError {
  const own = quoted(known)
  const option = known.length === 1 ? 'serializer' : 'serializers'
  const remedy = `let the sender write one of these, or give this app the serializer of the sender (option '${option}')`
  const text = `'${type.name}' came with the content type '${printable(given ?? '')}', and this app reads ${own}: ${remedy}`
  return new MersalError('MERSAL_DECODE', text, {
    details: { type: type.name, contentType: given },
  })
}

function undecodable(type: MessageType, cause: unknown): MersalError {
  if (isMersalError(cause, 'MERSAL_DECODE')) return cause
  return new MersalError('MERSAL_DECODE', `the body of '${type.name}' cannot be read`, { cause })
}

function refuse(reason: DeadReason, error: Error): Rejection {
  return { kind: 'reject', reason, error }
}
