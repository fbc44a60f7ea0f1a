import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { MessageType } from '../../core/messages/message.ts'
import type { Serializer } from '../../core/messages/serializer.ts'
import { isLateAnswer } from '../../lib/async/late-answer.ts'
import { difference } from '../../lib/difference.ts'
import { printable } from '../../lib/text.ts'
import { isPromise, validateBody } from './body.ts'

/**
 * Opens the bytes as a consumer would, and compares the body with what was sent. Throws
 * `MERSAL_INVALID_BODY`, with the path of the first difference. Returns a promise only if the
 * schema waits.
 */
export function checkRoundTrip(
  serializer: Serializer,
  type: MessageType,
  sent: unknown,
  bytes: Uint8Array,
): void | Promise<void> {
  let received: unknown
  try {
    received = validateBody(type, opened(serializer, bytes))
  } catch (error) {
    throw refused(type, error)
  }
  if (!isPromise(received)) return compare(type, sent, received)
  return received.then(
    (value) => compare(type, sent, value),
    (error: unknown) => {
      throw refused(type, error)
    },
  )
}

function opened(serializer: Serializer, bytes: Uint8Array): unknown {
  const body = serializer.decode(bytes)
  if (!isLateAnswer(body)) return body
  throw new TypeError('the serializer has to wait')
}

function compare(type: MessageType, sent: unknown, received: unknown): void {
  const path = difference(sent, received)
  if (path === undefined) return
  const where = path.length === 0 ? 'the body itself' : `'${printable(path.join('.'))}'`
  const text = `the body of '${type.name}' does not arrive as it was sent: see ${where}. ${REMEDY}`
  throw new MersalError('MERSAL_INVALID_BODY', text, {
    details: { type: type.name, path: path.join('.') },
  })
}

const REMEDY =
  'Send what the serializer can carry (a date as text, a map as an object, bytes as base64), or let the schema accept and restore it, as z.coerce.date() does'

function refused(type: MessageType, cause: unknown): MersalError {
  const why = isMersalError(cause) ? cause.message : 'the serializer cannot read what it wrote'
  const details = { type: type.name, ...(isMersalError(cause) ? cause.details : {}) }
  return new MersalError(
    'MERSAL_INVALID_BODY',
    `every consumer would refuse the body of '${type.name}': ${why}. ${REMEDY}`,
    {
      cause,
      details,
    },
  )
}
