import type { OutgoingMessage } from '../../core/messages/message.ts'
import { delayOf } from '../queues/delay.ts'

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
