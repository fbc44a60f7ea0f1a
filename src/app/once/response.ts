import { MersalError } from '../../core/errors/errors.ts'
import { parseJson } from '../../lib/json.ts'
import { difference } from '../../lib/difference.ts'
import { printable } from '../../lib/text.ts'

/** Longest response as JSON, in bytes of UTF-8. */
const MAX_RESPONSE_BYTES = 1024 * 1024

/** The response as JSON, inside an object, so that `undefined` can be kept as well. */
export function writeResponse(response: unknown): string {
  let text: string
  try {
    text = JSON.stringify({ response })
  } catch (cause) {
    throw refused('JSON cannot hold it', [], cause)
  }
  const path = difference(response, readResponse(text))
  if (path !== undefined) {
    const where = path.length === 0 ? 'it' : `'${printable(path.join('.'))}'`
    throw refused(`${where} does not come back from JSON as it was`, path)
  }
  const bytes = Buffer.byteLength(text)
  if (bytes <= MAX_RESPONSE_BYTES) return text
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `once(): the response has ${bytes} bytes as JSON, and at most ${MAX_RESPONSE_BYTES} are kept: return a reference to what is large`,
    { details: { bytes, limit: MAX_RESPONSE_BYTES } },
  )
}

export function readResponse(text: string): unknown {
  return (parseJson(text) as { response?: unknown }).response
}

function refused(why: string, path: readonly string[], cause?: unknown): MersalError {
  const text = `once(): the response cannot be kept, since ${why}: return plain data (a date as text, bytes as base64)`
  const details = { field: 'response', path: path.join('.') }
  return new MersalError('MERSAL_INVALID_BODY', text, { cause, details })
}
