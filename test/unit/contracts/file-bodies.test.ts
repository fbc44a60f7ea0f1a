import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { event } from '../../../src/index.ts'
import { claimCheck, fileBodies } from '../../../src/contracts/index.ts'
import { json } from '../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../support/shop.ts'

const Uploaded = event<{ text: string }>('files.uploaded')
const text = 'x'.repeat(5000)
const MARK = '.mersal-bodies'
const about = { signal: new AbortController().signal }

let root: string
let directory: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mersal-bodies-'))
  directory = join(root, 'bodies')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const inFiles = (): ShopOptions => ({
  codecs: [claimCheck({ store: fileBodies({ directory }), aboveBytes: 1000 })],
})

async function sent() {
  const { app, rows } = openShop(inFiles())
  await app.transaction((_, { publish }) => publish(Uploaded, { text }))
  const all = await rows()
  await app.stop()
  return all.at(-1)!
}

async function received(message: Awaited<ReturnType<typeof sent>>) {
  const { app, transport } = openShop(inFiles())
  const seen: unknown[] = []
  app.handle(Uploaded, (body) => void seen.push(body))
  await app.start()
  const end = await transport.deliver('shop', message)
  await app.stop()
  return { end, seen }
}

const disk = (): string => `${directory}-disk`

/** The disk goes away: what is left is an empty mount point. */
function unmount(): void {
  renameSync(directory, disk())
  mkdirSync(directory)
}

/** The disk comes back, over whatever the mount point holds. */
function mount(): void {
  renameSync(directory, `${directory}-below`)
  renameSync(disk(), directory)
}

const waits = { kind: 'retry', error: { code: 'MERSAL_UNAVAILABLE' } }
const isDead = { kind: 'reject', reason: 'undecodable' }

function dayIn(folder: string): string {
  return readdirSync(folder).find((name) => name !== MARK)!
}

describe('a folder whose disk is away', () => {
  test('charges no message, as an empty mount point', async () => {
    const message = await sent()
    unmount()
    expect((await received(message)).end).toMatchObject(waits)
    mount()
    expect((await received(message)).seen).toEqual([{ text }])
  })

  test('makes no dead letter when a new process has begun another folder in its place', async () => {
    const message = await sent()
    unmount()
    const meanwhile = await sent()
    expect((await received(meanwhile)).seen).toEqual([{ text }])
    expect((await received(message)).end).toMatchObject(waits)
    mount()
    expect((await received(message)).seen).toEqual([{ text }])
    expect((await received(meanwhile)).end).toMatchObject(waits)
  })

  test('is written to by nobody who has seen the disk', async () => {
    const store = fileBodies({ directory })
    await store.put('2026-01-01/a', json(1), about)
    unmount()
    await expect(store.put('2026-01-01/b', json(2), about)).rejects.toThrow(MARK)
    expect(readdirSync(directory)).toEqual([])
    await fileBodies({ directory }).put('2026-01-01/c', json(3), about)
    await expect(store.put('2026-01-01/b', json(2), about)).rejects.toThrow('another')
    expect(readdirSync(join(directory, '2026-01-01'))).toEqual(['c'])
  })

  test('is written to by nobody at all with create: false', async () => {
    const store = fileBodies({ directory, create: false })
    await expect(store.put('2026-01-01/a', json(1), about)).rejects.toThrow(MARK)
    expect(existsSync(directory)).toBe(false)
    mkdirSync(directory)
    await expect(store.put('2026-01-01/a', json(1), about)).rejects.toThrow(MARK)
    expect(readdirSync(directory)).toEqual([])
    writeFileSync(join(directory, MARK), '0190a0b0-0000-7000-8000-000000000001\n')
    expect(await store.put('2026-01-01/a', json(1), about)).toEqual({
      place: '0190a0b0-0000-7000-8000-000000000001',
    })
    expect(await store.get('2026-01-01/a', about)).toEqual(Buffer.from(json(1)))
  })
})

describe('a folder that is there', () => {
  test('from which a file is gone makes a dead letter', async () => {
    const message = await sent()
    rmSync(join(directory, dayIn(directory)), { recursive: true })
    expect((await received(message)).end).toMatchObject(isDead)
  })

  test('gives what was stored in another one that it is a copy of', async () => {
    const message = await sent()
    writeFileSync(join(directory, MARK), '0190a0b0-0000-7000-8000-000000000001')
    expect((await received(message)).seen).toEqual([{ text }])
  })

  test('has one mark, whoever stores first', async () => {
    const stores = Array.from({ length: 8 }, () => fileBodies({ directory }))
    for (const store of stores) await store.put('2026-01-01/a', json(1), about)
    const places = await Promise.all(
      stores.map((store) => store.put('2026-01-01/b', json(1), about)),
    )
    const mark = readFileSync(join(directory, MARK), 'utf8').trim()
    expect(mark).toMatch(/^[0-9a-f-]{36}$/)
    expect(new Set(places.map((stored) => (stored as { place: string }).place))).toEqual(
      new Set([mark]),
    )
  })

  test('may have an empty mark: a reference without the id of a folder is known as before', async () => {
    mkdirSync(directory)
    writeFileSync(join(directory, MARK), '')
    const message = await sent()
    expect(JSON.parse(Buffer.from(message.body).toString())).not.toHaveProperty('place')
    expect((await received(message)).seen).toEqual([{ text }])
    rmSync(join(directory, dayIn(directory)), { recursive: true })
    expect((await received(message)).end).toMatchObject(isDead)
    rmSync(join(directory, MARK))
    expect((await received(message)).end).toMatchObject(waits)
  })

  test('whose mark says something else is not taken for the folder', async () => {
    const message = await sent()
    writeFileSync(join(directory, MARK), 'mine')
    await expect(fileBodies({ directory }).put('2026-01-01/a', json(1), about)).rejects.toThrow(
      MARK,
    )
    rmSync(join(directory, dayIn(directory)), { recursive: true })
    expect((await received(message)).end).toMatchObject(waits)
  })
})

test.each(['x', '', 7, null, '../a'].map((place) => [place]))(
  'a reference to the place %o',
  async (place) => {
    const message = await sent()
    const reference = { ...(JSON.parse(Buffer.from(message.body).toString()) as object), place }
    const { end, seen } = await received({ ...message, body: json(reference) })
    if (place === 'x') expect(seen).toEqual([{ text }])
    else expect(end).toMatchObject(isDead)
  },
)

test.each([
  [{ directory: '' }, 'fileBodies.directory'],
  [{ directory: 'x', create: 'no' }, 'fileBodies.create'],
  [{ directory: 'x', make: true }, 'fileBodies.make'],
])('fileBodies(%o) is refused, naming %s', (given, field) => {
  expect(() => fileBodies(given as never)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})
