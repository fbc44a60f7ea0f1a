import { randomFillSync } from 'node:crypto'

/** Random bytes for the next ids: drawing them singly costs as much as the rest of an id. */
const pool = Buffer.allocUnsafe(16 * 128)
let used = pool.length

/** Sixteen random bytes that nobody else gets. The next call may overwrite the buffer. */
function nextSixteen(): Buffer {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += 16
  return pool.subarray(used - 16, used)
}

/** Codes of the two digits of each byte. */
const HIGH = new Uint8Array(256)
const LOW = new Uint8Array(256)
for (let byte = 0; byte < 256; byte++) {
  const digits = byte.toString(16).padStart(2, '0')
  HIGH[byte] = digits.charCodeAt(0)
  LOW[byte] = digits.charCodeAt(1)
}

const written = Buffer.alloc(36, '-')

/** One piece of text: one that is put together of pieces is slower to make, and to use. */
function format(bytes: Uint8Array): string {
  let at = 0
  for (let index = 0; index < 16; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) at++
    const byte = bytes[index] as number
    written[at++] = HIGH[byte] as number
    written[at++] = LOW[byte] as number
  }
  return written.toString('latin1')
}

/**
 * A random UUID of version 7 (RFC 9562): sorts by the millisecond it was made in. `now` is
 * milliseconds since the Unix epoch.
 */
export function uuidv7(now: number): string {
  const bytes = nextSixteen()
  bytes.writeUIntBE(Math.max(0, Math.trunc(now)), 0, 6)
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  return format(bytes)
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function isUuid(text: string): boolean {
  return UUID.test(text)
}
