import type { Options } from 'amqplib'
import { byteLength } from '../../../lib/text.ts'

/**
 * One message as AMQP 0-9-1 writes it (specification 2.3.5 and 4.2): a frame with the method, one
 * with the properties, and one with the body. Only of the form that nearly all messages of Mersal
 * have: properties and headers that are texts, and a body that fits into one frame.
 */
export interface PlainMessage {
  /** The whole frame of the method, as `methodFrame` makes it. */
  readonly method: Uint8Array
  readonly channel: number
  readonly properties: Options.Publish
  readonly content: Uint8Array
}

/**
 * In the order in which they are written, with the bit that tells of each; the headers come after
 * the content type.
 */
const texts = [
  ['correlationId', 1 << 10],
  ['messageId', 1 << 7],
  ['type', 1 << 5],
  ['appId', 1 << 3],
] as const
const CONTENT_TYPE = 1 << 15
const HEADERS = 1 << 13
const DELIVERY_MODE = 1 << 12
const PERSISTENT = 2

const FRAME = { method: 1, header: 2, body: 3, end: 0xce } as const
const CLASS_BASIC = 60
const METHOD_PUBLISH = 40
const MANDATORY = 1
/** Type, channel and size before the payload, and one byte after it. */
export const FRAME_OVERHEAD = 8
/**
 * Every broker takes frames of this size (specification, `frame-min-size`), so the properties
 * always fit below it.
 */
const SMALLEST_FRAME_MAX = 4096
const LONGEST_SHORT = 255
/** No text has more bytes than three for each of its units. */
const MOST_BYTES = 3

const plainNames: ReadonlySet<string> = new Set([
  'contentType',
  'headers',
  ...texts.map(([name]) => name),
])

const isShort = (value: unknown): value is string =>
  typeof value === 'string' &&
  (value.length * MOST_BYTES <= LONGEST_SHORT || byteLength(value) <= LONGEST_SHORT)

/** The most bytes that the properties can take, or undefined if they are not of the plain form. */
export function boundOf(properties: Options.Publish): number | undefined {
  let bytes = 32
  for (const name in properties) {
    if (!plainNames.has(name)) return undefined
    if (name === 'headers') continue
    const value: unknown = properties[name as keyof Options.Publish]
    if (!isShort(value)) return undefined
    bytes += 1 + value.length * MOST_BYTES
  }
  const headers = (properties.headers ?? {}) as Readonly<Record<string, unknown>>
  for (const name in headers) {
    const value = headers[name]
    if (typeof value !== 'string' || !isShort(name)) return undefined
    bytes += 6 + (name.length + value.length) * MOST_BYTES
  }
  return bytes + FRAME_OVERHEAD > SMALLEST_FRAME_MAX ? undefined : bytes
}

function put16(to: Buffer, at: number, value: number): number {
  to[at] = value >> 8
  to[at + 1] = value
  return at + 2
}

function put32(to: Buffer, at: number, value: number): number {
  return put16(to, put16(to, at, value >>> 16), value & 0xffff)
}

function putShort(to: Buffer, at: number, text: string): number {
  const length = to.write(text, at + 1)
  to[at] = length
  return at + 1 + length
}

function putLong(to: Buffer, at: number, text: string): number {
  const length = to.write(text, at + 4)
  return put32(to, at, length) + length
}

/** Returns where the payload begins; `end` closes it. */
function begin(to: Buffer, at: number, type: number, channel: number): number {
  to[at] = type
  return put16(to, at + 1, channel) + 4
}

function end(to: Buffer, payload: number, at: number): number {
  put32(to, payload - 4, at - payload)
  to[at] = FRAME.end
  return at + 1
}

/** `basic.publish` with `mandatory`; undefined if a name is too long for AMQP. */
export function methodFrame(
  channel: number,
  exchange: string,
  routingKey: string,
): Buffer | undefined {
  if (!isShort(exchange) || !isShort(routingKey)) return undefined
  const frame = Buffer.alloc(FRAME_OVERHEAD + 9 + byteLength(exchange) + byteLength(routingKey))
  const payload = begin(frame, 0, FRAME.method, channel)
  // The number that follows those of class and method was a ticket once, and is 0.
  let at = put16(frame, put16(frame, put16(frame, payload, CLASS_BASIC), METHOD_PUBLISH), 0)
  at = putShort(frame, putShort(frame, at, exchange), routingKey)
  frame[at] = MANDATORY
  end(frame, payload, at + 1)
  return frame
}

function putTable(to: Buffer, start: number, headers: Readonly<Record<string, string>>): number {
  let at = start + 4
  for (const name in headers) {
    at = putShort(to, at, name)
    to[at] = 0x53 // a long string
    at = putLong(to, at + 1, headers[name] as string)
  }
  put32(to, start, at - start - 4)
  return at
}

function putProperties(to: Buffer, start: number, properties: Options.Publish): number {
  let flags = DELIVERY_MODE | HEADERS
  let at = start + 2
  if (properties.contentType !== undefined) {
    flags |= CONTENT_TYPE
    at = putShort(to, at, properties.contentType)
  }
  at = putTable(to, at, (properties.headers ?? {}) as Readonly<Record<string, string>>)
  to[at++] = PERSISTENT
  for (const [name, flag] of texts) {
    const value = properties[name]
    if (value === undefined) continue
    flags |= flag
    at = putShort(to, at, value)
  }
  put16(to, start, flags)
  return at
}

/**
 * Writes the message, persistent, from `start` on. Returns the end. There must be room: `method`,
 * `boundOf`, body and three frames.
 */
export function putMessage(
  to: Buffer,
  start: number,
  { method, channel, properties, content }: PlainMessage,
): number {
  to.set(method, start)
  const header = begin(to, start + method.length, FRAME.header, channel)
  let at = put16(to, put16(to, header, CLASS_BASIC), 0)
  at = put32(to, put32(to, at, 0), content.length)
  at = end(to, header, putProperties(to, at, properties))
  if (content.length === 0) return at
  const body = begin(to, at, FRAME.body, channel)
  to.set(content, body)
  return end(to, body, body + content.length)
}
