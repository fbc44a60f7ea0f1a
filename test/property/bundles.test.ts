import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMersalError } from '../../src/core/errors/errors.ts'
import type { Envelope } from '../../src/core/messages/message.ts'
import {
  BUNDLE_CONTENT_TYPE,
  bytesInBundle,
  decodeBundle,
  EMPTY_BUNDLE_BYTES,
  encodeBundle,
} from '../../src/transports/rabbitmq/bundles/bundle-format.ts'
import { messages } from './arbitraries.ts'
import { holdsFor } from './check.ts'

const several = fc.array(messages, { minLength: 1, maxLength: 12 })

function bundle(envelopes: readonly Envelope[]): Buffer {
  const sizes = envelopes.map((envelope) => bytesInBundle(envelope) ?? Number.NaN)
  return encodeBundle(
    envelopes,
    sizes.reduce((sum, size) => sum + size, EMPTY_BUNDLE_BYTES),
  )
}

const plain = ({ id, type, headers, body }: Envelope): unknown => ({
  id,
  type,
  headers: { ...headers },
  body: [...body],
})

/** What opening gives: the messages, or undefined for a refusal. Any other error is a crash. */
function opened(content: Buffer): readonly Envelope[] | undefined {
  try {
    return decodeBundle(content)
  } catch (error) {
    if (!isMersalError(error, 'MERSAL_DECODE')) throw error
    return undefined
  }
}

const envelope = (extra: Partial<Envelope> = {}): Envelope => ({
  id: 'id',
  type: 'type',
  headers: {},
  body: Buffer.from('body'),
  ...extra,
})

describe('a bundle', () => {
  test('gives back its messages as they went in', async () => {
    await holdsFor([several], (sent) =>
      expect(decodeBundle(bundle(sent)).map(plain)).toEqual(sent.map(plain)),
    )
  })

  test('that was cut anywhere is refused as a whole', async () => {
    await holdsFor([several, fc.nat()], (sent, at) => {
      const content = bundle(sent)
      expect(opened(content.subarray(0, at % content.length))).toBeUndefined()
    })
  })

  test('with any bytes after its end is refused as a whole', async () => {
    await holdsFor([several, fc.uint8Array({ minLength: 1, maxLength: 20 })], (sent, more) => {
      expect(opened(Buffer.concat([bundle(sent), more]))).toBeUndefined()
    })
  })

  test('with any byte changed is refused, or opened within its bytes', async () => {
    await holdsFor(
      [several, fc.nat(), fc.integer({ min: 1, max: 255 })],
      (sent, at, change) => {
        const content = bundle(sent)
        content[at % content.length]! ^= change
        const bytes = opened(content)?.reduce((sum, { body }) => sum + body.byteLength, 0) ?? 0
        expect(bytes).toBeLessThan(content.length)
      },
      2000,
    )
  })

  test('that is only noise is refused', async () => {
    await holdsFor([fc.uint8Array({ maxLength: 300 })], (noise) =>
      expect(opened(Buffer.from(noise))).toBeUndefined(),
    )
    const head = Buffer.from('MSLB\u0001\u0000\u0002', 'latin1')
    await holdsFor([fc.uint8Array({ maxLength: 300 })], (noise) => {
      for (const { body } of opened(Buffer.concat([head, noise])) ?? [])
        expect(body.byteLength).toBeLessThanOrEqual(noise.length)
    })
  })

  test.each([
    [
      'of another version',
      (content: Buffer) => content.writeUInt8(2, 4),
      /its version is 2, known is 1/,
    ],
    ['of no messages', (content: Buffer) => content.writeUInt16BE(0, 5), /claims 0 messages/],
    [
      'that claims more messages than there may be',
      (content: Buffer) => content.writeUInt16BE(0xffff, 5),
      /claims 65535 messages/,
    ],
    [
      'that claims one message more than it has',
      (content: Buffer) => content.writeUInt16BE(2, 5),
      /in the middle of a message/,
    ],
    [
      'whose id claims to be longer than everything',
      (content: Buffer) => content.writeUInt8(0xff, 7),
      /in the middle of a message/,
    ],
    [
      'whose body claims to have 4 GB',
      (content: Buffer) => content.writeUInt32BE(0xffff_ffff, content.length - 8),
      /in the middle/,
    ],
    [
      'that begins otherwise',
      (content: Buffer) => content.writeUInt8(0, 0),
      /does not begin as a bundle/,
    ],
    ['whose type is no UTF-8', (content: Buffer) => content.writeUInt8(0xff, 11), /no UTF-8/],
  ])('%s is refused, and says why', (_, damage, why) => {
    const content = bundle([envelope()])
    damage(content)
    expect(() => decodeBundle(content)).toThrow(why)
  })

  test('that claims a million messages in a few bytes is refused without making any', () => {
    const content = Buffer.alloc(7 + 10 * 1_000_000)
    bundle([envelope()]).copy(content, 0, 0, 7)
    content.writeUInt16BE(1000, 5)
    // A thousand empty messages, and then nearly ten million bytes too many.
    expect(() => decodeBundle(content)).toThrow(/bytes follow its last message/)
  })

  test('inside of a bundle is refused', () => {
    const inner = envelope({
      headers: { 'content-type': BUNDLE_CONTENT_TYPE },
      body: bundle([envelope()]),
    })
    expect(() => decodeBundle(bundle([envelope(), inner]))).toThrow(/a bundle inside/)
  })

  test('with a header named __proto__ changes no prototype', () => {
    const content = bundle([envelope({ headers: { aaaaaaaaa: 'polluted' } })])
    content.write('__proto__', content.indexOf('aaaaaaaaa'))
    const [only] = decodeBundle(content)
    expect(Object.getPrototypeOf(only?.headers)).toBe(Object.prototype)
    expect(Object.entries(only?.headers ?? {})).toEqual([['__proto__', 'polluted']])
  })

  test('does not take what its fields cannot hold', () => {
    expect(bytesInBundle(envelope({ id: 'i'.repeat(256) }))).toBeUndefined()
    expect(bytesInBundle(envelope({ headers: { ['n'.repeat(256)]: '' } }))).toBeUndefined()
    expect(bytesInBundle(envelope({ headers: { a: 'ü'.repeat(32_768) } }))).toBeUndefined()
    expect(
      bytesInBundle(envelope({ headers: { a: 'x'.repeat(40_000), b: 'x'.repeat(40_000) } })),
    ).toBeUndefined()
    const widest = envelope({
      id: 'ü'.repeat(127),
      headers: { ['ü'.repeat(127)]: 'x'.repeat(60_000) },
    })
    expect(decodeBundle(bundle([widest])).map(plain)).toEqual([plain(widest)])
  })
})
