import {
  type KeyObject,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes,
} from 'node:crypto'
import { isUint8Array } from 'node:util/types'
import type { BodyCodec, EncodedMessage } from '../core/messages/codec.ts'
import { MersalError } from '../core/errors/errors.ts'
import { checkOptions, invalidOption } from '../core/options.ts'
import { printable } from '../lib/text.ts'

/** Options of `encryption()`. */
export interface EncryptionOptions {
  /**
   * Keys of 32 random bytes by their ids: 1 to 64 letters, digits, '.', '_' and '-'. Keep an old
   * one for as long as messages under it may come.
   */
  readonly keys: Readonly<Record<string, Uint8Array>>
  /** Id of the key that encrypts what is sent. */
  readonly current: string
}

/** Form of the bytes: 1, length of the key id, key id, nonce, what is encrypted, tag. */
const FORM = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_BYTES = 32
const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/
const NAME = 'aes-256-gcm'

/**
 * Encrypts bodies with AES-256-GCM, under a new random nonce each. The id and the type of the
 * message and the id of the key are bound to it: a body that was put under another id or type
 * cannot be read. Headers are not encrypted, nor is the length hidden.
 *
 * A receiver reads what any of its keys has encrypted, and bodies that came in the clear. A body
 * that it cannot decrypt becomes a dead letter (`undecodable`) that names the id of the key. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function encryption(options: EncryptionOptions): BodyCodec {
  checkOptions('encryption', options, ['keys', 'current'])
  const keys = keysOf(options.keys)
  const { current } = options
  const key = typeof current === 'string' ? keys.get(current) : undefined
  if (key === undefined)
    throw invalidOption('encryption.current', 'expected the id of one of the keys')
  return {
    name: NAME,
    encode: (body, about) => encrypt({ id: current, key }, body, about),
    decode: (body, about) => decrypt(keys, body, about),
  }
}

/** As objects of Node, which show nothing of themselves in a log. */
function keysOf(given: unknown): ReadonlyMap<string, KeyObject> {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption('encryption.keys', 'expected an object with a key for each id')
  return new Map(
    Object.entries(given).map(([id, key]: [string, unknown]) => {
      const field = `encryption.keys['${printable(id, 64)}']`
      if (!KEY_ID.test(id))
        throw invalidOption(field, "an id has 1 to 64 letters, digits, '.', '_' or '-'")
      if (!isUint8Array(key) || key.byteLength !== KEY_BYTES)
        throw invalidOption(field, `expected a Uint8Array of ${KEY_BYTES} bytes`)
      return [id, createSecretKey(key)]
    }),
  )
}

function encrypt(
  { id, key }: { readonly id: string; readonly key: KeyObject },
  body: Uint8Array,
  about: EncodedMessage,
): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(NAME, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(boundTo(id, about))
  const content = [cipher.update(body), cipher.final()]
  const head = Buffer.from([FORM, id.length])
  return Buffer.concat([head, Buffer.from(id), nonce, ...content, cipher.getAuthTag()])
}

function decrypt(
  keys: ReadonlyMap<string, KeyObject>,
  body: Uint8Array,
  about: EncodedMessage,
): Uint8Array {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const idLength = bytes[1] ?? 0
  const nonceAt = 2 + idLength
  const contentAt = nonceAt + NONCE_BYTES
  const tagAt = bytes.length - TAG_BYTES
  const id = bytes.toString('latin1', 2, nonceAt)
  if (bytes[0] !== FORM || !KEY_ID.test(id) || tagAt < contentAt)
    throw unreadable(about, 'is not in the form that encryption() writes')
  const key = keys.get(id)
  if (key === undefined)
    throw unreadable(about, `is encrypted with the key '${id}', which this app does not have`, id)
  try {
    const options = { authTagLength: TAG_BYTES }
    const decipher = createDecipheriv(NAME, key, bytes.subarray(nonceAt, contentAt), options)
    decipher.setAAD(boundTo(id, about)).setAuthTag(bytes.subarray(tagAt))
    return Buffer.concat([decipher.update(bytes.subarray(contentAt, tagAt)), decipher.final()])
  } catch {
    // The error of Node says no more than that.
    const why = `cannot be decrypted with the key '${id}': the body, its id or its type was changed, or the key is another one`
    throw unreadable(about, why, id)
  }
}

function boundTo(keyId: string, { id, type }: EncodedMessage): Buffer {
  return Buffer.from(JSON.stringify([FORM, keyId, id, type]))
}

function unreadable({ type, id }: EncodedMessage, why: string, key?: string): MersalError {
  return new MersalError('MERSAL_DECODE', `the body of '${printable(type)}' ${why}`, {
    details: { type, id, ...(key === undefined ? {} : { key }) },
  })
}
