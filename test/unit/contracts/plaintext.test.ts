import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type BodyCodec, type Serializer, event, silentLogger } from '../../../src/index.ts'
import { claimCheck, encryption } from '../../../src/contracts/index.ts'
import { errorTextWithStack } from '../../../src/core/errors/error-text.ts'
import { jsonSerializer } from '../../../src/core/messages/serializer.ts'
import { openShop } from '../support/shop.ts'

const Told = event('secrets.told')
const secret = 'quicksilver'
const about = { id: 'a', type: 'secrets.told', logger: silentLogger }
const sealed = encryption({ keys: { first: randomBytes(32) }, current: 'first' })
/** Quotes what it gets, as many parsers do. */
const quoting: Serializer = {
  contentType: 'text/plain',
  encode: (value) => Buffer.from(String(value)),
  decode: (body) => {
    throw new RangeError(`unexpected '${Buffer.from(body).toString()}'`)
  },
}
const quotingCodec: BodyCodec = {
  name: 'quoting',
  encode: () => undefined,
  decode: (body) => quoting.decode(body) as Uint8Array,
}

async function errorOf(work: () => unknown): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}

/** What becomes of these bytes, which come encrypted. Everything that is shown of it, as text. */
async function delivered(
  text: string,
  options: { serializer?: Serializer; codecs?: readonly BodyCodec[]; encoding?: string } = {},
) {
  const {
    codecs = [sealed],
    encoding = codecs.map(({ name }) => name).join(','),
    ...rest
  } = options
  const lines: unknown[] = []
  const note = (...line: unknown[]): void => void lines.push(line)
  const logger = { debug: note, info: note, warn: note, error: note }
  const { app, transport } = openShop({ codecs, logger, ...rest })
  app.handle(Told, () => {})
  await app.start()
  const body = await sealed.encode(Buffer.from(text, 'latin1'), about)
  const contentType = rest.serializer?.contentType ?? 'application/json'
  const headers = { 'content-type': contentType, 'body-encoding': encoding }
  const end = await transport.deliver('shop', { ...about, headers, body: body! })
  await app.stop()
  if (end.kind !== 'reject') throw new Error(`it ended as ${end.kind}`)
  const seen = inspect([lines, end], { depth: 20, showHidden: true })
  return { end, shown: `${seen}\n${errorTextWithStack(end.error)}` }
}

describe('the plaintext of a body that cannot be read is in no error, cause, dead letter or log', () => {
  test.each([
    secret,
    `"${secret}`,
    `{"secret":${secret}}`,
    `{"secret":"x"} ${secret}`,
    `\u00ff\u00fe${secret}`,
  ])('%j is not JSON', async (text) => {
    const { end, shown } = await delivered(text)
    expect(end).toMatchObject({ reason: 'undecodable', error: { code: 'MERSAL_DECODE' } })
    expect(shown).toContain('not JSON in UTF-8')
    expect(shown).not.toContain(secret)
    expect(shown).not.toContain(secret.slice(0, 6))
  })

  test('and the serializer quotes it', async () => {
    const { end, shown } = await delivered(secret, { serializer: quoting })
    expect(end).toMatchObject({ reason: 'undecodable', error: { code: 'MERSAL_DECODE' } })
    expect(shown).toContain('RangeError')
    expect(shown).not.toContain(secret)
  })

  test('and a codec quotes it that comes after the decryption', async () => {
    const { end, shown } = await delivered(secret, { codecs: [quotingCodec, sealed] })
    expect(end).toMatchObject({ reason: 'undecodable', error: { code: 'MERSAL_DECODE' } })
    expect(shown).toContain("'quoting'")
    expect(shown).not.toContain(secret)
  })
})

test('a serializer that fails on a body that came in the clear is shown', async () => {
  const { app, transport } = openShop({ serializer: quoting })
  app.handle(Told, () => {})
  await app.start()
  const headers = { 'content-type': 'text/plain' }
  const end = await transport.deliver('shop', { ...about, headers, body: Buffer.from('plain') })
  await app.stop()
  expect(end).toMatchObject({ error: { cause: { message: "unexpected 'plain'" } } })
})

test('of bytes that are not JSON the place of the mistake is named', async () => {
  const error = await errorOf(() => jsonSerializer.decode(Buffer.from(`{"a":1 ${secret}}`)))
  expect(error).toMatchObject({ code: 'MERSAL_DECODE', message: 'the body is not JSON in UTF-8' })
  expect(errorTextWithStack(error)).toContain('not JSON at position 7')
})

// For these Node says no position, and quotes the text, which looks like one.
test.each(['at position 27', '[1,2,at position 55'])(
  'P14: of bytes that are not JSON nothing is taken for the place of the mistake: %j',
  async (text) => {
    const error = await errorOf(() => jsonSerializer.decode(Buffer.from(text)))
    expect(error).toMatchObject({ code: 'MERSAL_DECODE', cause: { message: 'not JSON' } })
  },
)

test('what came in place of a reference is not quoted', async () => {
  const store = { put: () => Promise.resolve(), get: () => Promise.resolve(undefined) }
  const codec = claimCheck({ store, aboveBytes: 0 })
  const { signal } = new AbortController()
  const error = await errorOf(() => codec.decode(Buffer.from(secret), { ...about, signal }))
  expect(error).toMatchObject({ code: 'MERSAL_DECODE' })
  expect(inspect(error, { depth: 20 })).not.toContain(secret)
})
