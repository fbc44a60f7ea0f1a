import { isUint8Array } from 'node:util/types'
import type { BodyCodec, DecodedMessage, EncodedMessage } from '../../core/messages/codec.ts'
import { readProperty } from '../../core/errors/causes.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import { type Envelope, headerNames } from '../../core/messages/message.ts'
import { checkShape, invalidOption } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'
import { isPromise } from '../send/body.ts'
import { quoted } from './serializers.ts'

const CLASS_NAME = /^[A-Za-z_$][\w$]{0,59}$/
const NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/

/** Throws `MERSAL_INVALID_OPTIONS` unless these are codecs in an order that can work. */
export function checkCodecs(codecs: readonly BodyCodec[] | undefined): readonly BodyCodec[] {
  if (codecs === undefined) return []
  if (!Array.isArray(codecs)) throw invalidOption('codecs', 'expected an array of codecs')
  for (const [index, codec] of (codecs as readonly BodyCodec[]).entries()) {
    const field = `codecs[${index}]`
    checkShape(field, codec, ['encode', 'decode'])
    if (typeof codec.name !== 'string' || !NAME.test(codec.name))
      throw invalidOption(`${field}.name`, "expected lower-case letters, digits, '-' and '.'")
    if (codecs.findIndex(({ name }) => name === codec.name) !== index)
      throw invalidOption(`${field}.name`, `'${codec.name}' is used twice`)
    if (codec.last === true && index < codecs.length - 1)
      throw invalidOption(
        field,
        `'${codec.name}' must be the last one: the bytes that it gets travel no further`,
      )
  }
  return codecs
}

/** Bytes as they travel, and the names of the codecs that made them. */
interface Encoded {
  readonly body: Uint8Array
  readonly encoding: readonly string[]
}

/** What the codecs make of a body, in their order. Returns a promise only if one of them waits. */
export function encodeWith(
  codecs: readonly BodyCodec[],
  body: Uint8Array,
  about: EncodedMessage,
): Encoded | Promise<Encoded> {
  return codecs.reduce<Encoded | Promise<Encoded>>(
    (before, codec) =>
      isPromise(before)
        ? before.then((given) => encodeStep(codec, given, about))
        : encodeStep(codec, before, about),
    { body, encoding: [] },
  )
}

function encodeStep(
  codec: BodyCodec,
  before: Encoded,
  about: EncodedMessage,
): Encoded | Promise<Encoded> {
  const after = (body: Uint8Array | undefined): Encoded => {
    if (body === undefined) return before
    if (isUint8Array(body)) return { body, encoding: [...before.encoding, codec.name] }
    const text = `body of '${about.type}': the codec '${codec.name}' must return a Uint8Array`
    throw new MersalError('MERSAL_ENCODE', text, { details: { type: about.type } })
  }
  const failed = (cause: unknown): never => {
    if (isMersalError(cause)) throw cause
    const text = `body of '${about.type}': the codec '${codec.name}' failed`
    throw new MersalError('MERSAL_ENCODE', text, { cause, details: { type: about.type } })
  }
  try {
    const encoded = codec.encode(before.body, about)
    return isPromise(encoded) ? encoded.then(after).catch(failed) : after(encoded)
  } catch (cause) {
    return failed(cause)
  }
}

/**
 * The bytes as the serializer wrote them. Throws `MERSAL_DECODE`, or `MERSAL_UNAVAILABLE` if they
 * may be had later.
 */
export async function decodeWith(
  codecs: readonly BodyCodec[],
  message: Envelope,
  about: DecodedMessage,
): Promise<Uint8Array> {
  const given = message.headers[headerNames.encoding]
  let { body } = message
  if (given === undefined) return body
  const undone = given.split(',').map((name) => codecOf(codecs, name.trim(), about.type))
  for (const [index, codec] of undone.toReversed().entries())
    body = await decodeStep(codec, body, { about, opened: index > 0 })
  return body
}

function codecOf(codecs: readonly BodyCodec[], name: string, type: string): BodyCodec {
  const codec = codecs.find((known) => known.name === name)
  if (codec !== undefined) return codec
  const known =
    codecs.length === 0 ? 'undoes none' : `undoes ${quoted(codecs.map((one) => one.name))}`
  const text = `the body of '${type}' came in the encoding '${printable(name, 60)}', and this app ${known}: give it the codec of the sender (option 'codecs')`
  throw new MersalError('MERSAL_DECODE', text, { details: { type, encoding: name } })
}

async function decodeStep(
  codec: BodyCodec,
  body: Uint8Array,
  { about, opened }: { readonly about: DecodedMessage; readonly opened: boolean },
): Promise<Uint8Array> {
  const what = `the body of '${about.type}' in the encoding '${codec.name}'`
  const details = { type: about.type, encoding: codec.name }
  let decoded: unknown
  try {
    decoded = await codec.decode(body, about)
  } catch (cause) {
    if (isMersalError(cause, 'MERSAL_DECODE') || waitsUncharged(cause)) throw cause
    if (opened) throw unshown(what, cause, details)
    throw new MersalError('MERSAL_DECODE', `${what} cannot be read`, { cause, details })
  }
  if (isUint8Array(decoded)) return decoded
  throw new MersalError('MERSAL_DECODE', `${what}: the codec must return a Uint8Array`, { details })
}

/**
 * What reads a body that a codec has opened may quote it, and what it quotes may be a secret. So
 * its error is named, and not kept.
 */
export function unshown(
  what: string,
  thrown: unknown,
  details: Readonly<Record<string, unknown>>,
): MersalError {
  const name = nameOf(thrown)
  const text = `${what} cannot be read; the error (${name}) is not shown, since it may quote what was encoded`
  return new MersalError('MERSAL_DECODE', text, { details })
}

function nameOf(thrown: unknown): string {
  const name = readProperty(thrown, 'name')
  return typeof name === 'string' && CLASS_NAME.test(name) ? name : 'unknown'
}

/** Whether a codec asks for another try that is not charged. */
export function waitsUncharged(error: unknown): error is MersalError {
  return uncharged(error) !== undefined
}

/** After how many milliseconds a codec asks for another try; undefined for every other error. */
export function uncharged(error: unknown): number | undefined {
  if (!isMersalError(error, 'MERSAL_UNAVAILABLE')) return undefined
  const { retryAfterMs } = error.details
  return typeof retryAfterMs === 'number' && retryAfterMs >= 0 ? retryAfterMs : undefined
}
