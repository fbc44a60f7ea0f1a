/**
 * Texts travel as bytes, in both directions, and lie in binary columns: no character set of a
 * connection, no collation and no mode of the server can change them or take two for the same.
 */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'utf8')
}

export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return value instanceof Uint8Array
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
    : ''
}

export const textOrNull = (value: unknown): string | null =>
  value === null || value === undefined ? null : textOf(value)

/** The unit of time in statements: whole microseconds, rounded up. */
export const microseconds = (milliseconds: number): number => Math.ceil(milliseconds * 1000)

/** Room for names, the statement and the protocol. */
export const AROUND_BYTES: number = 64 * 1024
/** Of a binary column for a name or a key. */
export const LONGEST_NAME_BYTES = 255

export const fitsName = (text: string): boolean => Buffer.byteLength(text) <= LONGEST_NAME_BYTES
