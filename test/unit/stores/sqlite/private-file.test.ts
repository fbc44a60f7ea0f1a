import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'

const folder = mkdtempSync(join(tmpdir(), 'mersal-private-'))
afterAll(() => rmSync(folder, { recursive: true }))
const mode = (file: string): number => statSync(file).mode & 0o777

test.each([
  ['the store', (path: string) => sqlite({ path })],
  ['the queue', (path: string) => sqliteQueue({ path })],
])('%s makes its files for their owner only, those of the log too', async (name, make) => {
  const path = join(folder, `${name.slice(4)}.db`)
  await using part = make(path)
  if ('open' in part) await part.open()
  else await part.subscribe('q', [])
  const files = readdirSync(folder).filter((each) => each.startsWith(`${name.slice(4)}.db`))
  expect(files.length).toBeGreaterThan(1)
  for (const file of files) expect([file, mode(join(folder, file))]).toEqual([file, 0o600])
})

test('a file that is named by a URI is private as well', async () => {
  const path = join(folder, 'a b.db')
  await using store = sqlite({ path: `file:${encodeURI(path)}?cache=private` })
  await store.open()
  expect(mode(path)).toBe(0o600)
})

test('a file that exists keeps its mode, and a database in memory makes none', async () => {
  const path = join(folder, 'there.db')
  writeFileSync(path, '')
  chmodSync(path, 0o640)
  await using store = sqlite({ path })
  await store.open()
  expect(mode(path)).toBe(0o640)
  await using memory = sqlite({ path: ':memory:' })
  await memory.open()
  expect(existsSync(':memory:')).toBe(false)
})

test('a folder that does not exist is told by the database', async () => {
  await using store = sqlite({ path: join(folder, 'none/x.db') })
  await expect(store.open()).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
})
