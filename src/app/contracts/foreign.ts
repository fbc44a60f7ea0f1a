import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { Envelope } from '../../core/messages/message.ts'
import { invalidOption } from '../../core/options.ts'
import { isHeaderValue, isName } from '../../core/messages/validation.ts'
import type { ForeignType, TypeOf, WireFormat } from '../../core/messages/wire-format.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { isLateAnswer, kindOfAnswer } from '../../lib/async/late-answer.ts'
import { byteLength } from '../../lib/text.ts'
import { uuidv7 } from '../../lib/uuid.ts'

/** How an app knows messages of programs that do not know Mersal. */
export interface ForeignSettings {
  readonly wireFormat: WireFormat | undefined
  readonly typeOf: TypeOf | undefined
}

export function foreignSettings({
  wireFormat,
  typeOf,
}: {
  readonly wireFormat?: WireFormat | undefined
  readonly typeOf?: TypeOf | undefined
}): ForeignSettings {
  const isFormat =
    typeof wireFormat?.headers === 'function' && typeof wireFormat.read === 'function'
  if (wireFormat !== undefined && !isFormat)
    throw invalidOption(
      'wireFormat',
      'expected a format, such as cloudEvents() of mersal/contracts',
    )
  if (typeOf !== undefined && typeof typeOf !== 'function')
    throw invalidOption('typeOf', 'expected a function')
  return { wireFormat, typeOf }
}

type Rejection = Extract<Disposition, { kind: 'reject' }>
export type Identified = { readonly kind: 'identified'; readonly delivery: Delivery } | Rejection

/** The delivery with the id and the type that its message has for this app. */
export function identified(
  settings: ForeignSettings & { readonly clock: { now(): number } },
  delivery: Delivery,
): Identified {
  const { wireFormat, typeOf, clock } = settings
  if (wireFormat === undefined && typeOf === undefined) return { kind: 'identified', delivery }
  try {
    const given = wireFormat?.read(delivery.message) ?? undefined
    if (isLateAnswer(given)) throw wrongAnswer('wireFormat', kindOfAnswer(given))
    const read = given ?? delivery.message
    const message = typeOf === undefined ? read : withType(read, typeOf, clock)
    if (message === delivery.message) return { kind: 'identified', delivery }
    return { kind: 'identified', delivery: withMessage(delivery, message) }
  } catch (cause) {
    return { kind: 'reject', reason: 'malformed', error: malformed(cause) }
  }
}

function withType(message: Envelope, typeOf: TypeOf, clock: { now(): number }): Envelope {
  if (message.type !== '') return message
  const given: ForeignType | undefined = typeOf(message)
  if (given === undefined) return message
  if (isLateAnswer(given) || given === null) throw wrongAnswer('typeOf', kindOfAnswer(given))
  const { type, id } = typeof given === 'string' ? { type: given, id: undefined } : given
  if (!isName(type)) throw wrongAnswer('typeOf', 'a type that is no name')
  if (id !== undefined && !isId(id))
    throw wrongAnswer('typeOf', 'an id that is no text of 1 to 200 bytes')
  return { ...message, type, id: id ?? (message.id === '' ? uuidv7(clock.now()) : message.id) }
}

const isId = (id: unknown): boolean => isHeaderValue(id) && id !== '' && byteLength(id) <= 200

function wrongAnswer(who: string, what: string): MersalError {
  return new MersalError('MERSAL_INVALID_MESSAGE', `${who} gave ${what}`)
}

function malformed(cause: unknown): MersalError {
  if (isMersalError(cause)) return cause
  return new MersalError(
    'MERSAL_INVALID_MESSAGE',
    'nobody knows what the message is: typeOf threw',
    {
      cause,
    },
  )
}

/** Whatever the transport makes only when it is asked for stays so. */
export function withMessage(delivery: Delivery, message: Envelope): Delivery {
  const { queue, attempt, postponedSince, givingUp } = delivery
  return {
    message,
    queue,
    attempt,
    ...(postponedSince === undefined ? {} : { postponedSince }),
    ...(givingUp === undefined ? {} : { givingUp }),
    get signal() {
      return delivery.signal
    },
  }
}
