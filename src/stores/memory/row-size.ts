import type { OutgoingMessage } from '../../core/messages/message.ts'
import { byteLength } from '../../lib/text.ts'

/** What a row of this message is counted as. */
export function sizeOf({ body, headers, type }: OutgoingMessage): number {
  let size = body.byteLength + byteLength(type)
  for (const name in headers) size += byteLength(name) + byteLength(headers[name] ?? '')
  return size
}

/** What a claim gives of a message that is too large to be read. */
export function withoutContent(message: OutgoingMessage): OutgoingMessage {
  return { ...message, type: message.type.slice(0, 200), headers: {}, body: new Uint8Array() }
}
