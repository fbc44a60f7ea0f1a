/**
 * Messages of the extended protocol as bytes. `pg` writes one message at a time, each from an object
 * of its own, and asks for descriptions that nobody reads.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { statementName } from '../../statement-name.ts'

/** A statement of ours, and how it is told to the server. */
export interface Statement {
  readonly text: string
  /** Empty: it is parsed each time. */
  readonly name: string
  /** Has rows that somebody reads. Those of others are passed over. */
  readonly returns: boolean
  readonly parse: Buffer
  /** Bind, up to its parameters, all of which are binary. */
  readonly head: Buffer
}

/** A statement with its parameters: Bind and Execute. */
export interface Bound {
  readonly statement: Statement
  readonly bytes: Buffer
}

/** Object ids of types, as the server numbers them. */
export const types = {
  boolean: 16,
  bytea: 17,
  text: 25,
  float8: 701,
  uuid: 2950,
  booleans: 1000,
  byteas: 1001,
  texts: 1009,
  float8s: 1022,
  uuids: 2951,
} as const

export function statement(
  text: string,
  { named, parameters = [] }: { readonly named: boolean; readonly parameters?: readonly number[] },
): Statement {
  const name = named ? statementName(text) : ''
  return {
    text,
    name,
    returns: /\breturning\b/.test(text),
    parse: parseMessage(name, text, parameters),
    head: bindHead(name, parameters),
  }
}

function message(code: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5, code)
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`)

function shorts(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length)
  for (const [index, value] of values.entries()) bytes.writeInt16BE(value, 2 * index)
  return bytes
}

/**
 * A flight that failed behind a Parse has left the statement prepared. So the name is closed before:
 * to close what is not there is no error.
 */
function parseMessage(name: string, text: string, parameters: readonly number[]): Buffer {
  const oids = Buffer.alloc(4 * parameters.length)
  for (const [index, oid] of parameters.entries()) oids.writeInt32BE(oid, 4 * index)
  const parse = message('P', cString(name), cString(text), shorts(parameters.length), oids)
  return name === '' ? parse : Buffer.concat([message('C', Buffer.from('S'), cString(name)), parse])
}

function bindHead(name: string, parameters: readonly number[]): Buffer {
  const { length } = parameters
  const formats = length === 0 ? shorts(0, 0) : shorts(1, 1, length)
  return message('B', cString(''), cString(name), formats)
}

/** Results as text, then Execute without a limit. */
const TAIL = Buffer.from([0, 0, 0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0])
const EXECUTE_BYTES = 10

const bare = new WeakMap<Statement, Bound>()

/** Without parameters. */
export function bound(given: Statement): Bound {
  let made = bare.get(given)
  if (made === undefined) {
    made = new Parameters(given).end()
    bare.set(given, made)
  }
  return made
}

/** Most memory that is kept for the next ones. */
const KEPT_BYTES = 64 * 1024
const scratch = Buffer.allocUnsafe(KEPT_BYTES)

/**
 * Writes the parameters of one statement, in their order. One at a time: the next one writes into
 * the same memory.
 */
export class Parameters {
  readonly #statement: Statement
  #buffer = scratch
  #at: number

  constructor(given: Statement) {
    this.#statement = given
    this.#at = 0
    this.#add(given.head)
  }

  text(text: string): this {
    // The most that UTF-8 needs; only what is used is sent.
    this.#room(4 + 3 * text.length)
    const length = this.#buffer.write(text, this.#at + 4)
    this.#at = this.#buffer.writeInt32BE(length, this.#at) + length
    return this
  }

  bytes(bytes: Uint8Array): this {
    this.#room(4)
    this.#at = this.#buffer.writeInt32BE(bytes.byteLength, this.#at)
    this.#add(bytes)
    return this
  }

  float(value: number): this {
    this.#room(12)
    this.#at = this.#buffer.writeDoubleBE(value, this.#buffer.writeInt32BE(8, this.#at))
    return this
  }

  boolean(value: boolean): this {
    this.#room(5)
    this.#at = this.#buffer.writeInt8(value ? 1 : 0, this.#buffer.writeInt32BE(1, this.#at))
    return this
  }

  /** Has been checked: 32 digits and four hyphens. */
  uuid(text: string): this {
    this.#room(20)
    let at = this.#buffer.writeInt32BE(16, this.#at)
    for (let index = 0; index < 36; index += 2) {
      if (index === 8 || index === 13 || index === 18 || index === 23) index++
      this.#buffer[at++] = (digit(text, index) << 4) | digit(text, index + 1)
    }
    this.#at = at
    return this
  }

  null(): this {
    this.#room(4)
    this.#at = this.#buffer.writeInt32BE(-1, this.#at)
    return this
  }

  /** An array of one dimension; `write` writes one item. */
  array<Item>(oid: number, items: readonly Item[], write: (item: Item) => void): this {
    this.#room(24)
    const start = this.#at
    // Whether it has nulls the server finds out by itself.
    let at = this.#buffer.writeInt32BE(1, start + 4)
    at = this.#buffer.writeInt32BE(1, at)
    at = this.#buffer.writeInt32BE(oid, at)
    at = this.#buffer.writeInt32BE(items.length, at)
    this.#at = this.#buffer.writeInt32BE(1, at)
    for (const item of items) write(item)
    this.#buffer.writeInt32BE(this.#at - start - 4, start)
    return this
  }

  end(): Bound {
    this.#add(TAIL)
    this.#buffer.writeInt32BE(this.#at - EXECUTE_BYTES - 1, 1)
    const written = this.#buffer.subarray(0, this.#at)
    // What did not fit is in memory of its own.
    const bytes = this.#buffer === scratch ? Buffer.from(written) : written
    return { statement: this.#statement, bytes }
  }

  #add(bytes: Uint8Array): void {
    this.#room(bytes.byteLength)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.byteLength
  }

  #room(bytes: number): void {
    const wanted = this.#at + bytes
    if (wanted <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#buffer.length))
    larger.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = larger
  }
}

const DIGITS = new Uint8Array(128)
for (let value = 0; value < 16; value++) {
  const text = value.toString(16)
  DIGITS[text.charCodeAt(0)] = value
  DIGITS[text.toUpperCase().charCodeAt(0)] = value
}

const digit = (text: string, index: number): number => DIGITS[text.charCodeAt(index)] as number
