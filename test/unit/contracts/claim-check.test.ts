import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BodyCodec, command, event, silentLogger } from '../../../src/index.ts'
import {
  type BodyStore,
  type S3Client,
  claimCheck,
  encryption,
  fileBodies,
  s3Bodies,
} from '../../../src/contracts/index.ts'
import { json } from '../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../support/shop.ts'

const Uploaded = event<{ text: string }>('files.uploaded')
const Upload = command<{ text: string }>('files.upload')
const text = 'x'.repeat(5000)
const MARK = '.mersal-bodies'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mersal-bodies-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const files = (): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('/'))

async function sent(options: ShopOptions, body = { text }) {
  const { app, rows } = openShop(options)
  await app.transaction((_, { publish }) => publish(Uploaded, body))
  const [row] = await rows()
  await app.stop()
  return row!
}

async function received(options: ShopOptions, message: Awaited<ReturnType<typeof sent>>) {
  const { app, transport } = openShop(options)
  const seen: unknown[] = []
  app.handle(Uploaded, (body) => void seen.push(body))
  await app.start()
  const end = await transport.deliver('shop', message)
  await app.stop()
  return { end, seen }
}

const inFiles = (aboveBytes = 1000): ShopOptions => ({
  codecs: [claimCheck({ store: fileBodies({ directory }), aboveBytes })],
})

describe('a body above the size', () => {
  test('is in a file, and a reference with its length and hash travels', async () => {
    const message = await sent(inFiles())
    expect(message.headers['body-encoding']).toBe('claim-check')
    const reference = JSON.parse(Buffer.from(message.body).toString()) as { key: string }
    expect(reference).toEqual({
      key: files()[0],
      bytes: 5011,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      place: readFileSync(join(directory, MARK), 'utf8').trim(),
    })
    expect(readFileSync(join(directory, reference.key), 'utf8')).toBe(JSON.stringify({ text }))
    const { end, seen } = await received(inFiles(), message)
    expect(end).toEqual({ kind: 'ack' })
    expect(seen).toEqual([{ text }])
  })

  test('may be larger than the transport takes', async () => {
    const message = await sent(inFiles(), { text: 'x'.repeat(1_000_000) })
    expect(message.body.byteLength).toBeLessThan(300)
  })

  test('is encrypted in the file', async () => {
    const key = Buffer.alloc(32, 7)
    const codecs = [encryption({ keys: { key }, current: 'key' }), ...inFiles().codecs!]
    const message = await sent({ codecs })
    expect(message.headers['body-encoding']).toBe('aes-256-gcm, claim-check')
    expect(readFileSync(join(directory, files()[0]!)).includes('xxxx')).toBe(false)
    expect((await received({ codecs }, message)).seen).toEqual([{ text }])
  })

  test('of a transaction that is rolled back leaves a file that age removes', async () => {
    const { app, rows } = openShop(inFiles())
    const work = app.transaction(async (_, { publish }) => {
      await publish(Uploaded, { text })
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await rows()).toEqual([])
    const [day] = files()[0]!.split('/') as [string]
    expect(files()).toHaveLength(1)
    const store = fileBodies({ directory })
    expect(await store.prune!(day)).toBe(0)
    expect(files()).toHaveLength(1)
    expect(await store.prune!('9999-01-01')).toBe(1)
    expect(files()).toEqual([])
    await app.stop()
  })

  test('that is old is removed beside a send', async () => {
    await sent(inFiles())
    const [day] = readdirSync(directory).filter((name) => name !== MARK)
    renameSync(join(directory, day!), join(directory, '2020-01-01'))
    await sent(inFiles())
    await expect.poll(() => readdirSync(directory)).toEqual([MARK, day])
  })
})

test('a body up to the size travels itself', async () => {
  const message = await sent(inFiles(5011))
  expect(message.headers).not.toHaveProperty('body-encoding')
  expect(files()).toEqual([])
})

describe('a reference', () => {
  const cases: readonly [string, (message: Awaited<ReturnType<typeof sent>>) => void, RegExp][] = [
    [
      'to a body that is gone',
      () => rmSync(join(directory, files()[0]!)),
      /no longer in the store/,
    ],
    [
      'to another body',
      () => writeFileSync(join(directory, files()[0]!), json({ text: 'y' })),
      /another one/,
    ],
    [
      'to a body of the same length',
      () => writeFileSync(join(directory, files()[0]!), json({ text: `y${text.slice(1)}` })),
      /another one/,
    ],
  ]
  test.each(cases)('%s makes a dead letter', async (_, damage, why) => {
    const message = await sent(inFiles())
    damage(message)
    const { end } = await received(inFiles(), message)
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
    expect((end as { error: Error }).error.message).toMatch(why)
  })

  test.each([
    '../../etc/passwd',
    '2026-01-01/../../../etc/passwd',
    '/etc/passwd',
    '2026-01-01/a/b',
    7,
  ])('to %o is never followed', async (key) => {
    const message = await sent(inFiles())
    const reference = { ...(JSON.parse(Buffer.from(message.body).toString()) as object), key }
    const { end } = await received(inFiles(), { ...message, body: json(reference) })
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
    expect((end as { error: Error }).error.message).toContain('without a reference')
  })

  test('to more than the app takes is not fetched', async () => {
    const message = await sent(inFiles())
    let fetched = 0
    const store = { ...fileBodies({ directory }), get: async () => void fetched++ }
    const codecs = [claimCheck({ store, aboveBytes: 1, largestBytes: 5010 })]
    const { end } = await received({ codecs }, message)
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
    expect(fetched).toBe(0)
  })
})

describe('a store that is away', () => {
  const away: BodyStore = {
    put: () => Promise.reject(new Error('connect ECONNREFUSED')),
    get: () => Promise.reject(new Error('connect ECONNREFUSED')),
  }
  const check = (store: BodyStore): BodyCodec =>
    claimCheck({ store, aboveBytes: 1000, timeoutMs: 50 })

  test('lets a message wait, ever longer, with no attempt charged', async () => {
    const message = await sent(inFiles())
    const { app, transport } = openShop({
      codecs: [check(away)],
      receive: { maxDeliveries: 1, immediateRetries: 3 },
    })
    let handled = 0
    app.handle(Uploaded, () => void handled++)
    await app.start()
    const delays: number[] = []
    for (let tries = 0; tries < 8; tries++) {
      const end = await transport.deliver('shop', message)
      expect(end).toMatchObject({ kind: 'retry', postponedSince: expect.any(Number) })
      delays.push((end as { delayMs: number }).delayMs)
    }
    expect(handled).toBe(0)
    for (const [index, ms] of [1000, 2000, 4000, 8000, 16_000, 30_000].entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(ms / 2)
      expect(delays[index]).toBeLessThanOrEqual(ms)
    }
    await app.stop()
  })

  test('charges no handler that sends', async () => {
    const { app, transport, rows } = openShop({
      codecs: [check(away)],
      receive: { maxDeliveries: 1 },
    })
    app.handle(Upload, async (body, { publish }) => void (await publish(Uploaded, body)))
    await app.start()
    const end = await transport.deliver('shop', { type: Upload.name, body: json({ text }) })
    expect(end).toMatchObject({ kind: 'retry', postponedSince: expect.any(Number) })
    expect(await rows()).toEqual([])
    await app.stop()
  })

  test.each([
    ['is away', away],
    ['never answers', { ...away, put: () => new Promise<void>(() => {}) }],
  ])('that %s fails a send of its own, which says so', async (_, store) => {
    const { app, rows } = openShop({ codecs: [check(store)] })
    const send = app.transaction((_tx, { publish }) => publish(Uploaded, { text }))
    await expect(send).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    expect(await rows()).toEqual([])
    await app.stop()
  })

  test('is a folder that is not there as a whole', async () => {
    const message = await sent(inFiles())
    rmSync(directory, { recursive: true })
    const { end } = await received(inFiles(), message)
    expect(end).toMatchObject({ kind: 'retry', postponedSince: expect.any(Number) })
  })
})

describe('the store on S3', () => {
  const about = { signal: new AbortController().signal }

  test('speaks as the client of AWS does', async () => {
    const objects = new Map<string, Uint8Array>()
    const client: S3Client = {
      putObject: async ({ Bucket, Key, Body }) => objects.set(`${Bucket} ${Key}`, Body),
      getObject: async ({ Bucket, Key }) => {
        const body = objects.get(`${Bucket} ${Key}`)
        if (body === undefined) throw Object.assign(new Error('none'), { name: 'NoSuchKey' })
        return { Body: { transformToByteArray: async () => body } }
      },
    }
    const store = s3Bodies({ client, bucket: 'bodies', prefix: 'shop/' })
    await store.put('a', json(1), about)
    expect([...objects.keys()]).toEqual(['bodies shop/a'])
    expect(await store.get('a', about)).toEqual(json(1))
    expect(await store.get('b', about)).toBeUndefined()
    const denied = { ...client, getObject: () => Promise.reject(new Error('AccessDenied')) }
    await expect(s3Bodies({ client: denied, bucket: 'x' }).get('a', about)).rejects.toThrow(
      'AccessDenied',
    )
  })
})

test.each([
  [{ aboveBytes: 1 }, 'claimCheck.store'],
  [{ store: { put: () => {} }, aboveBytes: 1 }, 'claimCheck.store'],
  [{ store: 'folder', aboveBytes: 1 }, 'claimCheck.store'],
  [{}, 'claimCheck.aboveBytes'],
  [{ aboveBytes: -1 }, 'claimCheck.aboveBytes'],
  [{ aboveBytes: 1, keepDays: 0 }, 'claimCheck.keepDays'],
  [{ aboveBytes: 1, largestBytes: 0 }, 'claimCheck.largestBytes'],
  [{ aboveBytes: 1, timeoutMs: 0 }, 'claimCheck.timeoutMs'],
])('claimCheck(%o) is refused, naming %s', (given, field) => {
  const store = field === 'claimCheck.store' ? {} : { store: fileBodies({ directory: 'x' }) }
  expect(() => claimCheck({ ...store, ...given } as never)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})

test('codecs in an order that cannot work are refused', () => {
  const [check] = inFiles().codecs!
  const key = Buffer.alloc(32)
  const secret = encryption({ keys: { key }, current: 'key' })
  const fields = (codecs: unknown): unknown => {
    try {
      openShop({ codecs: codecs as BodyCodec[] })
      return undefined
    } catch (error) {
      return (error as { details: { field: string } }).details.field
    }
  }
  expect(fields([check, secret])).toBe('codecs[0]')
  expect(fields([secret, secret])).toBe('codecs[1].name')
  expect(fields([{ ...secret, name: 'A b' }])).toBe('codecs[0].name')
  expect(fields([{ name: 'x' }])).toBe('codecs[0]')
  expect(fields('gzip')).toBe('codecs')
  void silentLogger
})

test('a body that no receiver would fetch is not sent, and not stored', async () => {
  const store = fileBodies({ directory })
  const { app } = openShop({ codecs: [claimCheck({ store, aboveBytes: 10, largestBytes: 1000 })] })
  const sending = app.transaction((_, { publish }) => publish(Uploaded, { text }))
  await expect(sending).rejects.toMatchObject({
    code: 'MERSAL_TOO_LARGE',
    details: { type: Uploaded.name, limit: 1000 },
  })
  expect(files()).toEqual([])
  await app.stop()
})

test('a store that removes at once, or cannot, fails no send', async () => {
  for (const prune of [() => 3, () => undefined, () => JSON.parse('{')]) {
    const store = { put: async () => {}, get: async () => undefined, prune } as never
    const { app } = openShop({ codecs: [claimCheck({ store, aboveBytes: 10 })], logger: false })
    await app.transaction((_, { publish }) => publish(Uploaded, { text }))
    await app.stop()
  }
})
