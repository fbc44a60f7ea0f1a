type Parse = (value: never) => unknown

/** How a client of `pg` reads the values of one query: `types` of its configuration. */
export interface ValueTypes {
  getTypeParser(oid: number, format?: string): Parse
}

const asIs: Parse = (text: string) => text

/**
 * Of booleans, bytes, and numbers of 2, 4 and 8 bytes (the last in floating point); all else is
 * text.
 */
const ofText: ReadonlyMap<number, Parse> = new Map<number, Parse>([
  [16, (text: string) => text === 't'],
  [17, bytes],
  [21, Number],
  [23, Number],
  [701, Number],
])

const ofBinary: ReadonlyMap<number, Parse> = new Map<number, Parse>([
  [16, (value: Buffer) => value[0] === 1],
  [17, (value: Buffer) => value],
  [20, (value: Buffer) => String(value.readBigInt64BE())],
  [21, (value: Buffer) => value.readInt16BE()],
  [23, (value: Buffer) => value.readInt32BE()],
  [701, (value: Buffer) => value.readDoubleBE()],
  [
    2950,
    (value: Buffer) => value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
  ],
])

const asUtf8: Parse = (value: Buffer) => value.toString('utf8')

/**
 * Whatever parsers a program has set for itself, for everything or for one client: our rows are
 * read by ours.
 */
export const ownTypes: ValueTypes = {
  getTypeParser: (oid, format) =>
    format === 'binary' ? (ofBinary.get(oid) ?? asUtf8) : (ofText.get(oid) ?? asIs),
}

/** The two forms in which PostgreSQL writes bytes as text. */
function bytes(text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex')
  return Buffer.from(
    text.replaceAll(/\\(\\|[0-7]{3})/g, (_, code: string) =>
      code === '\\' ? '\\' : String.fromCharCode(Number.parseInt(code, 8)),
    ),
    'latin1',
  )
}
