import { MersalError } from '../core/errors/errors.ts'
import type { OutgoingMessage } from '../core/messages/message.ts'

/**
 * Bodies of one statement: far below the gigabyte that a field may have, also when a library writes
 * bytes as text of twice the length.
 */
export const PART_BYTES: number = 32 * 1024 * 1024
/** A body above this fits into no statement, nor into a field of SQLite. */
export const LARGEST_BODY_BYTES: number = 400_000_000

/**
 * Cuts messages into parts of one statement each: at most `most` messages, and not many more bytes
 * than fit in memory a few times; always one message.
 */
export function partsOf<Message extends OutgoingMessage>(
  messages: readonly Message[],
  most: number,
  mostBytes: number = PART_BYTES,
): Message[][] {
  const parts: Message[][] = []
  let part: Message[] = []
  let bytes = 0
  for (const message of messages) {
    const size = sizeOf(message)
    if (part.length === most || (part.length > 0 && bytes + size > mostBytes)) {
      parts.push(part)
      part = []
      bytes = 0
    }
    part.push(message)
    bytes += size
  }
  return part.length === 0 ? parts : [...parts, part]
}

/** About: headers hold few characters of several bytes. */
function sizeOf({ body, headers }: OutgoingMessage): number {
  let size = body.byteLength
  for (const name in headers) size += name.length + (headers[name] as string).length
  return size
}

/**
 * Throws `MERSAL_TOO_LARGE` before a statement could fail and spoil the transaction of the user.
 */
export function checkBodySize({ type, body }: OutgoingMessage): void {
  const { byteLength: size } = body
  if (size <= LARGEST_BODY_BYTES) return
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `the body of '${type}' has ${size} bytes, a database row takes at most ${LARGEST_BODY_BYTES}: put the content elsewhere and send where it is`,
    { details: { type, size, limit: LARGEST_BODY_BYTES } },
  )
}
