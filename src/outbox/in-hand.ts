import { destinationKey } from '../core/message.ts'
import type { ClaimedMessage } from '../core/outbox.ts'

/** The rows that a relay holds, counted in rows and in bytes. */
export interface InHand {
  readonly rows: number
  readonly bytes: number
  add(rows: readonly ClaimedMessage[]): void
  remove(row: ClaimedMessage): void
}

/** What an object of a message takes beside its texts and its body, roughly. */
const BESIDE_TEXTS = 512

/** Bytes that a row takes in memory, roughly. Never fewer than those of its body, its headers and its names. */
export function bytesOf({ message }: ClaimedMessage): number {
  let bytes = BESIDE_TEXTS + message.body.byteLength + 3 * (message.type.length + message.to.name.length)
  for (const name in message.headers) bytes += 3 * (name.length + (message.headers[name] as string).length)
  return bytes
}

export function createInHand(onChange: () => void): InHand {
  const counts = new Map<string, number>()
  let [rows, bytes] = [0, 0]

  function count(row: ClaimedMessage, by: 1 | -1): void {
    rows += by
    bytes += by * bytesOf(row)
    const destination = destinationKey(row.message.to)
    const now = (counts.get(destination) ?? 0) + by
    if (now === 0) counts.delete(destination)
    else counts.set(destination, now)
  }

  return {
    get rows() {
      return rows
    },
    get bytes() {
      return bytes
    },
    add(more) {
      for (const row of more) count(row, 1)
      onChange()
    },
    remove(row) {
      count(row, -1)
    },
  }
}
