import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type BodyCodec, event, silentLogger } from '../../../src/index.ts'
import { encryption } from '../../../src/contracts/index.ts'
import { capture } from '../../../src/testing/index.ts'
import { openShop } from '../support/shop.ts'

const [first, second] = [randomBytes(32), randomBytes(32)]
const secret = 'four score and seven years ago'
const Told = event<{ secret: string }>('secrets.told')
const about = {
  id: 'a',
  type: 'secrets.told',
  logger: silentLogger,
  signal: new AbortController().signal,
}

/** What the codec makes of these bytes. */
const seal = (codec: BodyCodec, body: Uint8Array): Buffer =>
  Buffer.from(codec.encode(body, about) as Uint8Array)

async function sentBy(codec: BodyCodec) {
  const { app, rows } = openShop({ codecs: [codec] })
  await app.transaction((_, { publish }) => publish(Told, { secret }))
  const [row] = await rows()
  await app.stop()
  return row!
}

async function receivedBy(
  codecs: readonly BodyCodec[],
  message: Awaited<ReturnType<typeof sentBy>>,
) {
  const lines: unknown[] = []
  const note = (...line: unknown[]): void => void lines.push(line)
  const logger = { debug: note, info: note, warn: note, error: note }
  const { app, transport } = openShop({ codecs, logger })
  const seen: unknown[] = []
  app.handle(Told, (body) => void seen.push(body))
  await app.start()
  const end = await transport.deliver('shop', message)
  await app.stop()
  return { end, seen, log: inspect([lines, end], { depth: 20 }) }
}

describe('a body that is encrypted', () => {
  test('is unreadable on its way, and arrives as it was sent', async () => {
    const codec = encryption({ keys: { first }, current: 'first' })
    const message = await sentBy(codec)
    expect(Buffer.from(message.body).includes(secret)).toBe(false)
    expect(message.headers['body-encoding']).toBe('aes-256-gcm')
    const { end, seen } = await receivedBy([codec], message)
    expect(end).toEqual({ kind: 'ack' })
    expect(seen).toEqual([{ secret }])
  })

  test('is another one each time', () => {
    const codec = encryption({ keys: { first }, current: 'first' })
    const bodies = Array.from({ length: 100 }, () => seal(codec, Buffer.from('x')).toString('hex'))
    expect(new Set(bodies).size).toBe(100)
  })

  test('may be under an older key, and in the clear', async () => {
    const old = await sentBy(encryption({ keys: { first }, current: 'first' }))
    const rotated = encryption({ keys: { first, second }, current: 'second' })
    expect((await receivedBy([rotated], old)).seen).toEqual([{ secret }])
    const { headers, ...message } = await sentBy({ ...rotated, encode: () => undefined })
    expect(headers).not.toHaveProperty('body-encoding')
    expect((await receivedBy([rotated], { headers, ...message })).seen).toEqual([{ secret }])
    expect(seal(rotated, Buffer.alloc(0)).toString('latin1', 2, 8)).toBe('second')
  })

  test('under an unknown key makes a dead letter that names the key, and nothing else', async () => {
    const message = await sentBy(encryption({ keys: { first }, current: 'first' }))
    const { end, log } = await receivedBy(
      [encryption({ keys: { second }, current: 'second' })],
      message,
    )
    expect(end).toMatchObject({
      kind: 'reject',
      reason: 'undecodable',
      error: { code: 'MERSAL_DECODE', details: { key: 'first' } },
    })
    expect((end as { error: Error }).error.message).toContain("'first'")
    for (const key of [first, second])
      for (const form of ['hex', 'base64', 'latin1'] as const)
        expect(log).not.toContain(key.toString(form))
    expect(log).not.toContain(secret)
  })

  test('for an app without the codec makes a dead letter that names it', async () => {
    const message = await sentBy(encryption({ keys: { first }, current: 'first' }))
    const { end } = await receivedBy([], message)
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
    expect((end as { error: Error }).error.message).toContain("'aes-256-gcm'")
  })

  test('cannot be read with any bit of it changed, cut, or under another id or type', async () => {
    const codec = encryption({ keys: { first }, current: 'first' })
    const body = seal(codec, Buffer.from('{"secret":1}'))
    expect(Buffer.from(await codec.decode(body, about)).toString()).toBe('{"secret":1}')
    for (let bit = 0; bit < body.length * 8; bit++) {
      const changed = Buffer.from(body)
      changed[bit >> 3]! ^= 1 << (bit & 7)
      expect(() => codec.decode(changed, about)).toThrow(
        expect.objectContaining({ code: 'MERSAL_DECODE' }),
      )
    }
    for (let length = 0; length < body.length; length++)
      expect(() => codec.decode(body.subarray(0, length), about)).toThrow(
        expect.objectContaining({ code: 'MERSAL_DECODE' }),
      )
    for (const other of [{ id: 'b' }, { type: 'secrets.kept' }])
      expect(() => codec.decode(body, { ...about, ...other })).toThrow("key 'first'")
  })

  test('is shown as it was by capture', async () => {
    const { app } = openShop({ codecs: [encryption({ keys: { first }, current: 'first' })] })
    const sent = await capture(app).transaction((_, { publish }) => publish(Told, { secret }))
    expect(sent[0]?.body).toEqual({ secret })
    await app.stop()
  })
})

test('a key is not seen in what a codec shows of itself', () => {
  const codec = encryption({ keys: { first }, current: 'first' })
  expect(inspect(codec, { depth: 20, showHidden: true })).not.toContain(first.toString('hex'))
  expect(JSON.stringify(codec)).not.toContain(first.toString('base64'))
})

test.each([
  [{ keys: { first }, current: 'second' }, 'encryption.current'],
  [{ keys: { first } }, 'encryption.current'],
  [{ keys: {}, current: 'first' }, 'encryption.current'],
  [{ keys: null, current: 'first' }, 'encryption.keys'],
  [{ keys: { first: randomBytes(31) }, current: 'first' }, "encryption.keys['first']"],
  [{ keys: { first: 'canary' }, current: 'first' }, "encryption.keys['first']"],
  [{ keys: { 'a b': first }, current: 'a b' }, "encryption.keys['a b']"],
])('options %# are refused, naming %s', (options, field) => {
  expect(() => encryption(options as never)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})
