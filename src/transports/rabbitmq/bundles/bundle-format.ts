import { isUtf8 } from 'node:buffer'
import { MersalError } from '../../../core/errors/errors.ts'
import { type Envelope, headerNames } from '../../../core/messages/message.ts'
import { bundleContentType } from '../../../core/messages/validation.ts'
import { byteLength } from '../../../lib/text.ts'

/**
 * Says that the content of a broker message is a bundle. It survives what takes headers away, so it
 * is a property.
 */
export const BUNDLE_CONTENT_TYPE: typeof bundleContentType = bundleContentType
/** The type of the broker message, for whoever looks at it. */
export const BUNDLE_TYPE = 'mersal.bundle'

/** More are neither written nor opened. */
export const MOST_MESSAGES = 1000

const MAGIC = Buffer.from('MSLB', 'latin1')
const VERSION = 1

/** Id, type and header names have one byte for their length, header values two. */
const LONGEST_NAME = 0xff
const LONGEST_VALUE = 0xffff
/**
 * Id, type and headers of one message together. They must fit into one frame of AMQP, with what a
 * retry or a dead letter adds, when the message goes on by itself.
 */
const MOST_HEAD_BYTES = 64 * 1024

function text(value: string, longest: number): number {
  const bytes = byteLength(value)
  return bytes > longest ? Number.NaN : bytes
}

/** Bytes that the message takes in a bundle; undefined if it cannot be put into one. */
export function bytesInBundle({ id, type, headers, body }: Envelope): number | undefined {
  let head = 2 + text(id, LONGEST_NAME) + text(type, LONGEST_NAME)
  const names = Object.keys(headers)
  for (const name of names)
    head += 3 + text(name, LONGEST_NAME) + text(headers[name] as string, LONGEST_VALUE)
  return head <= MOST_HEAD_BYTES && names.length <= LONGEST_VALUE
    ? head + 6 + body.byteLength
    : undefined
}

export const EMPTY_BUNDLE_BYTES: number = MAGIC.length + 3

/**
 * Writes the messages one after the other. `bytes`: what they take by `bytesInBundle`, with the
 * empty bundle.
 */
export function encodeBundle(messages: readonly Envelope[], bytes: number): Buffer {
  const content = Buffer.allocUnsafe(bytes)
  let at = MAGIC.copy(content)
  at = content.writeUInt8(VERSION, at)
  at = content.writeUInt16BE(messages.length, at)
  for (const { id, type, headers, body } of messages) {
    at = writeName(content, id, at)
    at = writeName(content, type, at)
    const names = Object.keys(headers)
    at = content.writeUInt16BE(names.length, at)
    for (const name of names) {
      at = writeName(content, name, at)
      const length = content.write(headers[name] as string, at + 2)
      at = content.writeUInt16BE(length, at) + length
    }
    at = content.writeUInt32BE(body.byteLength, at)
    content.set(body, at)
    at += body.byteLength
  }
  return content
}

function writeName(content: Buffer, value: string, at: number): number {
  const length = content.write(value, at + 1)
  return content.writeUInt8(length, at) + length
}

function damaged(why: string): MersalError {
  return new MersalError('MERSAL_DECODE', `the bundle cannot be opened: ${why}`)
}

/**
 * All messages of a bundle, in their order; the bodies are parts of `content`. Throws
 * `MERSAL_DECODE` on anything that is not exactly a bundle of a known version. Reads every length
 * against what is left, so nothing that is claimed and not there takes memory or time.
 */
export function decodeBundle(content: Buffer): readonly Envelope[] {
  let at = 0

  function skip(bytes: number): number {
    if (bytes > content.length - at)
      throw damaged(`it ends at byte ${content.length}, in the middle of a message`)
    at += bytes
    return at - bytes
  }

  function textOf(bytes: number): string {
    const start = skip(bytes)
    if (!isUtf8(content.subarray(start, at))) throw damaged(`no UTF-8 at byte ${start}`)
    return content.toString('utf8', start, at)
  }

  const name = (): string => textOf(content.readUInt8(skip(1)))
  const value = (): string => textOf(content.readUInt16BE(skip(2)))

  function message(): Envelope {
    const start = at
    const [id, type] = [name(), name()]
    const entries: [string, string][] = []
    for (let left = content.readUInt16BE(skip(2)); left > 0; left--) entries.push([name(), value()])
    if (at - start > MOST_HEAD_BYTES + 2)
      throw damaged(`more than ${MOST_HEAD_BYTES} bytes of headers at byte ${start}`)
    // `fromEntries` makes own fields, so that a header named __proto__ is only a header.
    const headers = Object.fromEntries(entries)
    if (headers[headerNames.contentType] === BUNDLE_CONTENT_TYPE)
      throw damaged(`a bundle inside of it at byte ${start}`)
    const body = content.subarray(skip(content.readUInt32BE(skip(4))), at)
    return { id, type, headers, body }
  }

  if (!content.subarray(skip(MAGIC.length), at).equals(MAGIC))
    throw damaged('it does not begin as a bundle does')
  const version = content.readUInt8(skip(1))
  if (version !== VERSION)
    throw damaged(`its version is ${version}, known is ${VERSION}; upgrade this program`)
  const count = content.readUInt16BE(skip(2))
  if (count === 0 || count > MOST_MESSAGES)
    throw damaged(`it claims ${count} messages; allowed are 1 to ${MOST_MESSAGES}`)
  const messages: Envelope[] = []
  while (messages.length < count) messages.push(message())
  if (at !== content.length) throw damaged(`${content.length - at} bytes follow its last message`)
  return messages
}
