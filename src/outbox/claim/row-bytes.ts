import type { ClaimedMessage } from '../../core/outbox.ts'

/** What an object of a message takes beside its texts and its body, roughly. */
const BESIDE_TEXTS = 512

/**
 * Bytes that a row takes in memory, roughly. Never fewer than those of its body, its headers and
 * its names.
 */
export function bytesOf({ message }: ClaimedMessage): number {
  let bytes =
    BESIDE_TEXTS + message.body.byteLength + 3 * (message.type.length + message.to.name.length)
  for (const name in message.headers)
    bytes += 3 * (name.length + (message.headers[name] as string).length)
  return bytes
}

export function bytesOfAll(rows: readonly ClaimedMessage[]): number {
  return rows.reduce((sum, row) => sum + bytesOf(row), 0)
}
