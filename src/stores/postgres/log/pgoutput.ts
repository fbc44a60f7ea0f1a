/**
 * Frames of `pgoutput`, protocol 1, with values in binary form. Only inserts are told; what is not
 * asked for is passed over. Throws `RangeError` or `TypeError` on bytes that are no such frame.
 */
export type Frame =
  | { readonly kind: 'begin'; readonly transaction: number }
  | { readonly kind: 'commit'; readonly end: bigint }
  | { readonly kind: 'insert'; readonly row: LoggedTuple }
  | { readonly kind: 'other' }

/** Values by the names of their columns: binary as the server sends them; null for NULL. */
export type LoggedTuple = ReadonlyMap<string, Buffer | null>

/** What is asked of the server, as options of `START_REPLICATION`. */
export const PROTOCOL = `proto_version '1', binary 'true'`

const code = (letter: string): number => letter.charCodeAt(0)
const BEGIN = code('B')
const COMMIT = code('C')
const RELATION = code('R')
const INSERT = code('I')
const NEW = code('N')
const NULL = code('n')
const BINARY = code('b')
const OTHER: Frame = { kind: 'other' }

/** Reads one message from its first byte on, and refuses to read behind its end. */
class Cursor {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#step(1))
  }

  short(): number {
    return this.#bytes.readUInt16BE(this.#step(2))
  }

  int(): number {
    return this.#bytes.readUInt32BE(this.#step(4))
  }

  long(): bigint {
    return this.#bytes.readBigUInt64BE(this.#step(8))
  }

  skip(length: number): void {
    this.#step(length)
  }

  take(length: number): Buffer {
    const start = this.#step(length)
    return this.#bytes.subarray(start, start + length)
  }

  /** Up to the next zero, which is passed over. */
  text(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    if (end < 0) throw new RangeError('pgoutput: a name has no end')
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end + 1
    return text
  }

  #step(length: number): number {
    const start = this.#at
    if (start + length > this.#bytes.byteLength)
      throw new RangeError(`pgoutput: a frame ends ${length} bytes too early`)
    this.#at = start + length
    return start
  }
}

/** Remembers the columns that the server has described. One for each connection. */
export function pgoutputDecoder(): (bytes: Buffer) => Frame {
  const relations = new Map<number, readonly string[]>()
  return (bytes) => {
    const cursor = new Cursor(bytes)
    switch (cursor.byte()) {
      case BEGIN:
        cursor.skip(16) // where the commit is, and when it was
        return { kind: 'begin', transaction: cursor.int() }
      case COMMIT:
        cursor.skip(9) // flags, and where the commit begins
        return { kind: 'commit', end: cursor.long() }
      case RELATION:
        relations.set(cursor.int(), columnsOf(cursor))
        return OTHER
      case INSERT:
        return { kind: 'insert', row: rowOf(cursor, relations) }
      default:
        return OTHER
    }
  }
}

function columnsOf(cursor: Cursor): readonly string[] {
  cursor.text() // schema
  cursor.text() // table
  cursor.skip(1) // replica identity
  return Array.from({ length: cursor.short() }, () => {
    cursor.skip(1) // flags
    const name = cursor.text()
    cursor.skip(8) // type and its modifier
    return name
  })
}

function rowOf(cursor: Cursor, relations: ReadonlyMap<number, readonly string[]>): LoggedTuple {
  const columns = relations.get(cursor.int())
  if (columns === undefined)
    throw new TypeError('pgoutput: a row of a table that was not described')
  if (cursor.byte() !== NEW) throw new TypeError('pgoutput: an insert without a new row')
  const count = cursor.short()
  if (count !== columns.length)
    throw new TypeError(`pgoutput: a row with ${count} values for ${columns.length} columns`)
  return new Map(columns.map((name) => [name, valueOf(cursor)]))
}

function valueOf(cursor: Cursor): Buffer | null {
  const form = cursor.byte()
  if (form === NULL) return null
  if (form !== BINARY) throw new TypeError('pgoutput: a value that is not in binary form')
  return cursor.take(cursor.int())
}
