import { byteLength, hasControlCharacters, printable } from '../../lib/text.ts'
import { MersalError } from '../errors/errors.ts'
import { headerNames } from './message.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$/
const HEADER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const MAX_HEADERS = 100
const MAX_HEADER_BYTES = 8 * 1024
const MAX_HEADERS_BYTES = 48 * 1024
const MAX_KEY_BYTES = 255
/**
 * Headers of our transports and of RabbitMQ, which count deliveries and note the way of a message
 * in them.
 */
const OF_TRANSPORTS =
  /^x-(?:mersal-.*|death|(?:first|last)-death-.*|delivery-count|acquired-count|opt-.*)$/
/** What a handler sends carries these on from the message that it handles. */
export const traceHeaders: readonly string[] = [
  headerNames.traceparent,
  headerNames.tracestate,
  headerNames.baggage,
]

/** Headers that Mersal sets itself, and no sender. */
export const reservedHeaders: ReadonlySet<string> = new Set<string>(
  Object.values(headerNames).filter((name) => !traceHeaders.includes(name)),
)

/** Whether Mersal, or a transport, sets the header of this name, in lower case. */
export function isSetByOthers(name: string): boolean {
  return reservedHeaders.has(name) || OF_TRANSPORTS.test(name)
}

/** The error for a field of a message that is not as documented. */
export function invalidField(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_MESSAGE', `${field}: ${text}`, { details: { field } })
}

/**
 * Whether this can name a message type, an app, a queue or a topic everywhere: in tables, routing
 * keys, logs.
 */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(value)
}

/** What `isName` wants, in words. */
export const nameRule =
  "1 to 200 letters, digits, '.', '_', ':', '/' or '-', beginning with a letter or a digit"

/**
 * Whether this can name a queue, whatever the broker: names that begin with `amq.` belong to
 * RabbitMQ.
 */
export function isQueueName(value: unknown): value is string {
  return isName(value) && !value.startsWith('amq.')
}

/** What `isQueueName` wants, in words. */
export const queueNameRule: string = `${nameRule}, and not with 'amq.', which belongs to RabbitMQ`

/** Of several messages that travel as one. */
export const bundleContentType = 'application/vnd.mersal.bundle' as const

/**
 * Whether this can be the content type of a body. RabbitMQ carries at most 255 bytes in the place
 * for it.
 */
export function isContentType(value: unknown): value is string {
  return isHeaderValue(value) && byteLength(value) <= 255 && value !== bundleContentType
}

/** What `isContentType` wants, in words. */
export const contentTypeRule: string = `text of at most 255 bytes without control characters, other than '${bundleContentType}'`

/**
 * Throws unless the key can be stored everywhere: 1 to 255 bytes of well-formed text without
 * control characters.
 */
export function checkPartitionKey(key: unknown): void {
  if (typeof key !== 'string')
    throw invalidField('partitionKey', `expected text, got ${typeof key}; convert it with String()`)
  if (key === '' || byteLength(key) > MAX_KEY_BYTES)
    throw invalidField('partitionKey', `must have 1 to ${MAX_KEY_BYTES} bytes as UTF-8`)
  if (!key.isWellFormed() || hasControlCharacters(key)) {
    throw invalidField('partitionKey', 'must be well-formed text without control characters')
  }
}

/**
 * Throws unless these headers of a sender can travel through any broker. Returns them with
 * lower-case names.
 */
export function checkHeaders(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  if (Symbol.iterator in headers)
    throw invalidField('headers', 'expected a plain object; make one with Object.fromEntries()')
  const names = Object.keys(headers)
  if (names.length > MAX_HEADERS)
    throw invalidField('headers', `at most ${MAX_HEADERS} are allowed, got ${names.length}`)
  const checked: Record<string, string> = Object.create(null) as Record<string, string>
  let total = 0
  for (const given of names) {
    const name = given.toLowerCase()
    const field = `headers['${printable(given, 60)}']`
    checkHeaderName(field, given)
    if (name in checked) throw invalidField(field, 'the name is given twice, in different case')
    const value = headers[given]
    checked[name] = checkHeaderValue(field, value)
    total += name.length + byteLength(checked[name])
  }
  if (total > MAX_HEADERS_BYTES)
    throw invalidField(
      'headers',
      `all of them together must stay below ${MAX_HEADERS_BYTES} bytes; put large values into the body`,
    )
  return checked
}

function checkHeaderName(field: string, given: string): void {
  if (!HEADER.test(given))
    throw invalidField(
      field,
      "a name has 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or a digit",
    )
  const name = given.toLowerCase()
  if (name === headerNames.expiresAt)
    throw invalidField(field, 'this header is set by Mersal itself; give expiresInMs instead')
  if (reservedHeaders.has(name))
    throw invalidField(field, 'this header is set by Mersal itself; choose another name')
  if (OF_TRANSPORTS.test(name))
    throw invalidField(field, 'this header belongs to the transports; choose another name')
}

function checkHeaderValue(field: string, value: unknown): string {
  if (typeof value !== 'string')
    throw invalidField(
      field,
      `expected text, got ${value === null ? 'null' : typeof value}; convert it with String()`,
    )
  if (byteLength(value) > MAX_HEADER_BYTES)
    throw invalidField(
      field,
      `must stay below ${MAX_HEADER_BYTES} bytes; put large values into the body`,
    )
  if (!value.isWellFormed() || hasControlCharacters(value))
    throw invalidField(field, 'must be well-formed text without control characters')
  return value
}

/** Whether a header may have this name, in any case. */
export function isHeaderName(name: string): boolean {
  return HEADER.test(name)
}

/** Whether the value of a header that came from elsewhere can travel on. */
export function isHeaderValue(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    byteLength(value) <= MAX_HEADER_BYTES &&
    value.isWellFormed() &&
    !hasControlCharacters(value)
  )
}

/** A year. Every store and transport can add it to the time of now. */
export const LONGEST_DELAY_MS: number = 365 * 24 * 3600 * 1000

export function isDelay(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= LONGEST_DELAY_MS
}

/**
 * Throws unless a message may expire after this time: more than 0 milliseconds, at most a year, and
 * longer than it waits before it may leave.
 */
export function checkExpiry(expiresInMs: unknown, delayMs: number): void {
  if (!isDelay(expiresInMs) || expiresInMs === 0)
    throw invalidField(
      'expiresInMs',
      `expected milliseconds above 0 and up to ${LONGEST_DELAY_MS} (a year)`,
    )
  if (expiresInMs <= delayMs)
    throw invalidField(
      'expiresInMs',
      'the message would expire before it may leave; make it longer than the delay (delayMs, at)',
    )
}

/** Throws unless this is a delay in milliseconds of at most a year. */
export function checkDelay(delayMs: unknown): void {
  if (!isDelay(delayMs))
    throw invalidField('delayMs', `expected milliseconds from 0 to ${LONGEST_DELAY_MS} (a year)`)
}
