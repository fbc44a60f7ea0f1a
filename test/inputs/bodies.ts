import { gzipSync } from 'node:zlib'
import { command, type StandardSchema } from '../../src/index.ts'
import type { Travelling } from './input.ts'
import { LARGEST_BYTES } from './places.ts'

const sent = (
  name: string,
  body: () => unknown,
  ends: Travelling['ends'] = 'arrives',
): Travelling => ({
  name,
  send: (sender, { Keep }) => sender.sendLocal(Keep, body()),
  ends,
})

/**
 * Bytes in a row that somebody else wrote; most of them are no JSON, and become dead letters as
 * they are.
 */
const stored = (name: string, body: Uint8Array, type?: string): Travelling => ({
  name: `stored: ${name}`,
  stored: {
    body,
    headers: { 'content-type': 'application/json' },
    ...(type === undefined ? {} : { type }),
  },
})

const nested = (depth: number, open: string, close: string, middle = '1'): Buffer =>
  Buffer.from(open.repeat(depth) + middle + close.repeat(depth))
const deep = (depth: number): unknown => {
  let body: unknown = 1
  for (let level = 0; level < depth; level++) body = level % 2 === 0 ? [body] : { a: body }
  return body
}
const polluting = (depth: number): string => {
  let text = '{"__proto__": {"polluted": "yes"}, "constructor": {"prototype": {"polluted": "yes"}}}'
  for (let level = 0; level < depth; level++) text = `{"a": ${text}}`
  return text
}
const circular: Record<string, unknown> = {}
circular['self'] = circular
/** Body and headers together have this many bytes more than the limit allows. */
const around = (bytes: number): Travelling => ({
  name: `${bytes} bytes more than the limit`,
  send: (sender, { Keep }) => sender.sendLocal(Keep, 'x'.repeat(LARGEST_BYTES + bytes - OWN_BYTES)),
  ends: bytes > 0 ? 'MERSAL_TOO_LARGE' : 'arrives',
})
/** Of the headers that Mersal sets (their lengths are constant) and the two quotation marks. */
const OWN_BYTES =
  'correlation-id'.length +
  36 +
  'sent-at'.length +
  24 +
  'content-type'.length +
  16 +
  'sender'.length +
  6 +
  2

/**
 * A schema that takes long for some texts, as people write them: refuses the body before it is
 * stored.
 */
const choosy: StandardSchema<unknown, unknown> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      value === 'good'
        ? { value }
        : { issues: [{ message: 'canary value', path: ['\u001b[2J', '__proto__'] }] },
  },
}
const throwing: StandardSchema<unknown, unknown> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: () => {
      throw new RangeError('Maximum call stack size exceeded')
    },
  },
}

export const bodies: readonly Travelling[] = [
  sent('null', () => null),
  sent('the empty text', () => ''),
  sent('undefined', () => undefined, 'MERSAL_ENCODE'),
  sent('a function', () => () => 1, 'MERSAL_ENCODE'),
  sent('a symbol', () => Symbol('s'), 'MERSAL_ENCODE'),
  sent('a big integer', () => ({ n: 10n ** 20n }), 'MERSAL_ENCODE'),
  sent('a circle', () => circular, 'MERSAL_ENCODE'),
  sent(
    'a getter that throws',
    () => Object.defineProperty({}, 'a', { enumerable: true, get: () => raise() }),
    'MERSAL_ENCODE',
  ),
  sent('toJSON that throws', () => ({ toJSON: () => raise() }), 'MERSAL_ENCODE'),
  sent('toJSON as bait', () => JSON.parse('{"toJSON": "text", "then": {"a": 1}}')),
  sent('a body with then()', () => JSON.parse('{"then": "text"}')),
  around(-1),
  around(0),
  around(1),
  sent('a text of ten million characters', () => 'x'.repeat(10_000_000), 'MERSAL_TOO_LARGE'),
  sent('32 MB of bytes in an object', () => new Uint8Array(200_000), 'MERSAL_TOO_LARGE'),
  sent('a depth of 1,000', () => deep(1000)),
  sent('a depth of 100,000', () => deep(100_000), 'MERSAL_ENCODE'),
  sent('50,000 keys', () =>
    Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`k${n}`, n])),
  ),
  ...[0, 1, 2, 3].map((depth) =>
    sent(`__proto__ at depth ${depth}`, () => JSON.parse(polluting(depth))),
  ),
  sent('numbers at the edges', () => [-0, 2 ** 53 + 1, Number.MAX_VALUE, 5e-324]),
  sent('NUL and lone surrogates', () => '\u0000 \ud800 \udfff \u2028'),
  sent('an invalid date', () => new Date(Number.NaN)),
  {
    name: 'a schema that refuses',
    send: (sender) => sender.sendLocal(command('inputs.keep', choosy), 'bad'),
    ends: 'MERSAL_INVALID_BODY',
  },
  {
    name: 'a schema that throws',
    send: (sender) => sender.sendLocal(command('inputs.keep', throwing), 'bad'),
    ends: 'MERSAL_INVALID_BODY',
  },
  stored('no bytes', new Uint8Array(0)),
  stored('one byte', new Uint8Array([0x7b])),
  stored('only 0xff', new Uint8Array(10_000).fill(0xff)),
  stored('NULs', new Uint8Array(10_000)),
  stored('a byte order mark of UTF-8', Buffer.from('\ufeff{"a":1}')),
  stored('UTF-16', Buffer.from('\ufeff{"a":1}', 'utf16le')),
  stored('UTF-8 that was cut', Buffer.from('{"a":"ö"}').subarray(0, 7)),
  stored('a lone surrogate as UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])),
  stored('an overlong form', Buffer.from([0x22, 0xc0, 0xaf, 0x22])),
  stored(
    'duplicate keys',
    Buffer.from('{"a":1,"a":2,"__proto__":{"polluted":1},"__proto__":{"polluted":2}}'),
  ),
  stored('1e400', Buffer.from('{"n":1e400}')),
  stored('an integer of 20 digits', Buffer.from('{"n":12345678901234567890}')),
  stored('arrays, 100,000 deep', nested(100_000, '[', ']')),
  stored('objects, 100,000 deep', nested(100_000, '{"a":', '}')),
  stored('arrays, 400,000 deep and never closed', Buffer.from('['.repeat(400_000))),
  stored('gzip of 10 MB of zeros', gzipSync(Buffer.alloc(10_000_000))),
  stored('a zip bomb’s beginning', Buffer.from('504b0304140000000800', 'hex')),
  ...Object.entries({
    'protobuf: a length beyond the end': '0affffffff0f',
    'protobuf: a group that never ends': '0b0b0b0b',
    'protobuf: a varint of 11 bytes': '08ffffffffffffffffffff01',
    'msgpack: an array of 2^32-1': 'ddffffffff',
    'msgpack: a map in a map for ever': '818181818181',
    'msgpack: reserved': 'c1',
    'avro: a block of -2^63': 'ffffffffffffffffff01',
    'avro: a text of negative length': '01',
  }).map(([name, hex]) => stored(name, Buffer.from(hex, 'hex'))),
]

function raise(): never {
  throw new Error('the body cannot be read')
}
