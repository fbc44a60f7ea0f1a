import { TextDecoder } from 'node:util'
import { parseJson } from '../../lib/json.ts'
import { MersalError } from '../errors/errors.ts'

/** Turns bodies into bytes and back. `decode` throws on bytes that it does not understand. */
export interface Serializer {
  /** Value of the `content-type` header. */
  readonly contentType: string
  encode(value: unknown): Uint8Array
  decode(body: Uint8Array): unknown
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

function encode(value: unknown): Uint8Array {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new MersalError(
      'MERSAL_ENCODE',
      `the body cannot be written as JSON: ${(cause as Error).message}`,
      { cause },
    )
  }
  if (text === undefined) {
    throw new MersalError(
      'MERSAL_ENCODE',
      `a body of type ${typeof value} has no JSON form: send an object, an array, a string, a number, a boolean or null`,
    )
  }
  return Buffer.from(text)
}

function decode(body: Uint8Array): unknown {
  try {
    return parseJson(decoder.decode(body))
  } catch (cause) {
    throw new MersalError('MERSAL_DECODE', 'the body is not JSON in UTF-8', { cause })
  }
}

/** JSON in UTF-8. */
export const jsonSerializer: Serializer = { contentType: 'application/json', encode, decode }
