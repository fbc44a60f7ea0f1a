import { isUint8Array } from 'node:util/types'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { LONGEST_DELAY_MS } from '../../core/messages/validation.ts'

/**
 * Why PostgreSQL could not store this message, or undefined. It takes neither NUL nor lone
 * surrogates.
 */
export function unstorable(message: OutgoingMessage): string | undefined {
  const { id, type, headers, to, partitionKey = '', body } = message
  const texts: readonly unknown[] = [
    id,
    type,
    to.transport,
    to.name,
    partitionKey,
    ...Object.keys(headers),
    ...Object.values(headers),
  ]
  if (
    !texts.every((text) => typeof text === 'string' && !text.includes('\0') && text.isWellFormed())
  )
    return 'the message cannot be stored: id, type, key and headers must be well-formed text without NUL'
  return isUint8Array(body) ? undefined : 'the message cannot be stored: its body is no Uint8Array'
}

/** As parameters of `queue_put`: the facts as one JSON array, and the bodies in one piece. */
export function encode(
  messages: readonly OutgoingMessage[],
  delayed: boolean,
): { readonly json: string; readonly bodies: Uint8Array } {
  let start = 0
  const rows = messages.map((message, n) => {
    const row = {
      n,
      id: message.id,
      key: message.partitionKey ?? null,
      delay: delayed ? delayOf(message.delayMs) : 0,
      type: message.type,
      transport: message.to.transport,
      kind: message.to.kind,
      name: message.to.name,
      headers: JSON.stringify(message.headers),
      start,
      length: message.body.byteLength,
    }
    start += message.body.byteLength
    return row
  })
  const only = messages.length === 1 ? messages[0] : undefined
  return {
    json: JSON.stringify(rows),
    bodies: only?.body ?? Buffer.concat(messages.map(({ body }) => body)),
  }
}

/** Milliseconds that can be added to the time of the database, whatever was given. */
export function delayOf(given: number | undefined): number {
  return Math.min(Math.max(Number(given) || 0, 0), LONGEST_DELAY_MS)
}
