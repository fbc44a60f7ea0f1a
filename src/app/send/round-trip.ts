import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { MessageType } from '../../core/messages/message.ts'
import type { Serializer } from '../../core/messages/serializer.ts'
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
    received = validateBody(type, serializer.decode(bytes))
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

function compare(type: MessageType, sent: unknown, received: unknown): void {
  const path = difference(sent, received, [])
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

export type Path = readonly string[]

/**
 * Path of the first difference, undefined if there is none. A property with the value undefined
 * counts as missing.
 */
export function difference(sent: unknown, received: unknown, path: Path): Path | undefined {
  if (sent === received || Object.is(sent, received)) return undefined
  if (
    typeof sent !== 'object' ||
    typeof received !== 'object' ||
    sent === null ||
    received === null
  )
    return path
  const kind = kindOf(sent)
  if (kind !== kindOf(received)) return path
  switch (kind) {
    case 'Object':
      return ofFields(sent as Fields, received as Fields, path)
    case 'Array':
      return ofItems(sent as unknown[], received as unknown[], path)
    case 'Date':
      return Object.is((sent as Date).getTime(), (received as Date).getTime()) ? undefined : path
    case 'Map':
    case 'Set':
      return ofItems([...(sent as Set<unknown>)], [...(received as Set<unknown>)], path)
    default:
      return ArrayBuffer.isView(sent)
        ? ofItems([...(sent as Uint8Array)], [...(received as Uint8Array)], path)
        : path
  }
}

function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

type Fields = Readonly<Record<PropertyKey, unknown>>

function ofFields(sent: Fields, received: Fields, path: Path): Path | undefined {
  for (const name of new Set([...Reflect.ownKeys(sent), ...Reflect.ownKeys(received)])) {
    if (!isField(sent, name) && !isField(received, name)) continue
    const found = difference(own(sent, name), own(received, name), [...path, String(name)])
    if (found !== undefined) return found
  }
  return undefined
}

const isField = (fields: Fields, name: PropertyKey): boolean =>
  Object.prototype.propertyIsEnumerable.call(fields, name)
const own = (fields: Fields, name: PropertyKey): unknown =>
  isField(fields, name) ? fields[name] : undefined

function ofItems(
  sent: readonly unknown[],
  received: readonly unknown[],
  path: Path,
): Path | undefined {
  for (let index = 0; index < Math.max(sent.length, received.length); index++) {
    const found = difference(sent[index], received[index], [...path, String(index)])
    if (found !== undefined) return found
  }
  return sent.length === received.length ? undefined : path
}
