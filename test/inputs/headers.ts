import { gzipSync } from 'node:zlib'
import { randomUUID } from 'node:crypto'
import type { Travelling } from './input.ts'

/** Headers as the sender gives them to Mersal. */
const given = (
  name: string,
  headers: unknown,
  ends: Travelling['ends'] = 'MERSAL_INVALID_MESSAGE',
): Travelling => ({
  name,
  send: (sender, { Keep }) => sender.sendLocal(Keep, { name }, { headers: headers as never }),
  ends,
})

/** Headers in a row that somebody else wrote. */
const stored = (name: string, headers: Readonly<Record<string, string>>): Travelling => ({
  name,
  stored: { headers },
})

const many = (count: number, value = 'v'): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`h-${n}`, value]))
const bomb = gzipSync(Buffer.alloc(10 * 1024 * 1024))
  .toString('base64')
  .slice(0, 8000)

export const headers: readonly Travelling[] = [
  ...['correlation-id', 'causation-id', 'sent-at', 'content-type', 'partition-key', 'sender'].map(
    (name) => given(`reserved: ${name}`, { [name]: 'spoofed' }),
  ),
  given('reserved: reply to another host', { 'reply-to': 'amqp://evil.example/%2f' }),
  given('reserved, in another case', { 'Correlation-ID': 'spoofed' }),
  given('the id of another tenant', { 'x-tenant': 'other', id: randomUUID() }, 'arrives'),
  given('one name in two cases', { Tenant: 'a', tenant: 'b' }),
  given('10,000 headers', many(10_000)),
  given('101 headers', many(101)),
  given('100 headers', many(100), 'arrives'),
  given('a value of 64 KiB and one byte', { a: 'x'.repeat(65_537) }),
  given('a value of 8 KiB', { a: 'x'.repeat(8192) }, 'arrives'),
  given('values of 56 KiB together', many(7, 'x'.repeat(8192))),
  ...Object.entries({
    'an object': { a: 1 },
    'an array': ['a'],
    'a date': new Date(0),
    'a big integer': 1n,
    'a symbol': Symbol('s'),
    'a function': () => 'a',
    undefined,
    null: null,
    'a number': 1e308,
  }).map(([what, value]) => given(`a value that is ${what}`, { a: value })),
  given('CR LF in a value', { a: 'b\r\nx-injected: 1' }),
  given('NUL in a value', { a: 'a\0b' }),
  given('a name that is not ASCII', { größe: '1' }),
  given('a value that is not ASCII', { a: 'größe 🎓 \u00a0' }, 'arrives'),
  given('__proto__ as an own field', JSON.parse('{"__proto__": "polluted"}')),
  given('constructor and prototype', { constructor: 'a', prototype: 'b' }, 'arrives'),
  ...[
    '',
    'garbage',
    '00-0-0-00',
    `00-${'f'.repeat(32)}-${'0'.repeat(16)}-ff`,
    'x'.repeat(5000),
  ].map((traceparent, n) => given(`malformed traceparent ${n + 1}`, { traceparent }, 'arrives')),
  ...['-1', '1e308', '∞'].map((attempt) => given(`attempt ${attempt}`, { attempt }, 'arrives')),
  ...[
    'x-mersal-attempt',
    'X-Mersal-Dead-Key',
    'x-death',
    'x-first-death-reason',
    'x-delivery-count',
    'x-opt-a',
  ].map((name) => given(`of the transports: ${name}`, { [name]: '1000000' })),
  given('expiry in the past', { expiration: '-1' }, 'arrives'),
  given('a bomb in a header', { 'content-encoding': 'gzip', bomb }, 'arrives'),
  given('null in place of headers', null, 'MERSAL_INVALID_OPTIONS'),
  given('text in place of headers', 'a: b', 'MERSAL_INVALID_OPTIONS'),
  given('a Map in place of headers', new Map([['a', 'b']])),
  stored('stored: names of the transport', {
    'x-mersal-attempt': '-1',
    'x-mersal-dead-key': 'x',
    'x-death': 'a',
    'x-delivery-count': '1e308',
    'content-type': 'text/plain',
  }),
  stored(
    'stored: __proto__',
    JSON.parse('{"__proto__": "polluted", "a": "b"}') as Record<string, string>,
  ),
  stored('stored: an unknown charset', { 'content-type': 'application/json; charset=utf-7' }),
  stored('stored: no text of a terminal', { a: '\u001b[2J\r\n', 'b\u202e': 'c' }),
  stored('stored: NUL', { a: 'a\0b' }),
  stored('stored: a lone surrogate', { a: '\ud800' }),
  stored('stored: 2,000 headers', many(2000)),
  stored('stored: a value of 100 kB', { a: 'x'.repeat(100_000) }),
  stored('stored: a name of 300 characters', { ['n'.repeat(300)]: 'a' }),
  stored('stored: upper case', { 'X-Upper': 'a' }),
  stored('stored: one name in two cases', { 'X-Two': 'a', 'x-two': 'b' }),
  stored('stored: the empty name', { '': 'a' }),
]
