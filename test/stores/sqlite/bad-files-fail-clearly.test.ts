import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'
import { createBusinessTable, inspect } from './processes.ts'

const message = {
  id: 'm',
  type: 't',
  headers: {},
  body: new Uint8Array([1]),
  to: { transport: 'default', kind: 'queue', name: 'q' } as const,
}

test('a file that is no SQLite database is refused by the store and by the queue, and stays as it is', async () => {
  using folder = temporaryFolder()
  const path = folder.file('letter.txt')
  writeFileSync(path, 'Dear Sir or Madam, '.repeat(500))
  await using store = sqlite({ path })
  await expect(store.open()).rejects.toMatchObject({ code: 'MERSAL_NOT_A_DATABASE' })
  await expect(store.unitOfWork(async () => {})).rejects.toMatchObject({
    code: 'MERSAL_NOT_A_DATABASE',
  })
  await using queue = sqliteQueue({ path })
  await expect(queue.subscribe('q', [])).rejects.toMatchObject({ code: 'MERSAL_NOT_A_DATABASE' })
  expect(await Promise.all(queue.publish([message]))).toMatchObject([
    { kind: 'unavailable', error: { code: 'MERSAL_NOT_A_DATABASE' } },
  ])
})

test('a folder that does not exist is a clear error, and opening works once it is there', async () => {
  using folder = temporaryFolder()
  await using store = sqlite({ path: folder.file('missing/app.db') })
  await expect(store.open()).rejects.toMatchObject({
    code: 'MERSAL_STORE_FAILED',
    message: expect.stringContaining('folder') as string,
  })
  mkdirSync(folder.file('missing'))
  await store.open()
})

test('a schema of a newer Mersal is refused', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  {
    await using store = sqlite({ path })
    await store.open()
  }
  inspect(
    path,
    `INSERT INTO mersal_migrations (component, id, name, applied_at) VALUES ('store', 99, 'later', 0) RETURNING id`,
  )
  await using store = sqlite({ path })
  await expect(store.open()).rejects.toMatchObject({
    code: 'MERSAL_SCHEMA_TOO_NEW',
    details: { found: 99 },
  })
})

test("with migrate: 'check' missing tables are an error, and nothing is created", async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path, migrate: 'check' })
  await expect(store.open()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
  expect(inspect(path, 'SELECT name FROM sqlite_schema')).toEqual([])
})

test('a database that can only be read fails the unit, with the error of SQLite as the cause', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using writer = sqlite({ path })
  await writer.open()
  using database = new DatabaseSync(path, { readOnly: true })
  await using store = sqlite({ database })
  await store.open()
  const unit = store.unitOfWork((tx) => store.outbox.save(tx, [message]))
  await expect(unit).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED', cause: { errcode: 8 } })
  await expect(store.tracker.prune({ olderThanMs: 0, limit: 1 })).rejects.toMatchObject({
    code: 'MERSAL_STORE_FAILED',
  })
  expect(database.isTransaction).toBe(false)
})

test('P1: when the disk is full the unit fails with its business rows, and what fits goes on', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  using database = new DatabaseSync(path)
  await using store = sqlite({ database })
  await store.open()
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as {
    page_count: number
  }
  database.exec(`PRAGMA max_page_count = ${pages + 5}`)
  const send = (body: Uint8Array) =>
    store.unitOfWork(async (tx) => {
      tx.exec(`INSERT INTO business (key, number, name) VALUES ('k', 1, 'n${body.byteLength}')`)
      await store.outbox.save(tx, [{ ...message, body }])
    })
  await expect(send(new Uint8Array(100_000))).rejects.toMatchObject({
    code: 'MERSAL_STORE_FAILED',
    message: expect.stringContaining('full') as string,
  })
  expect(database.isTransaction).toBe(false)
  await send(new Uint8Array(10))
  expect(inspect(path, 'SELECT name FROM business')).toMatchObject([{ name: 'n10' }])
  expect(await store.admin.stats()).toMatchObject({ pending: 1 })
})

test('P1: a full disk makes the queue answer unavailable to the call that does not fit, and only to that', async () => {
  using folder = temporaryFolder()
  using database = new DatabaseSync(folder.file('queue.db'))
  await using queue = sqliteQueue({ database })
  await queue.subscribe('q', [])
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as {
    page_count: number
  }
  database.exec(`PRAGMA max_page_count = ${pages + 5}`)
  const small = queue.publish([message])
  const large = queue.publish([{ ...message, body: new Uint8Array(100_000) }])
  const small2 = queue.publish([message])
  expect(await Promise.all([...small, ...large, ...small2])).toMatchObject([
    { kind: 'confirmed' },
    { kind: 'unavailable' },
    { kind: 'confirmed' },
  ])
  expect(
    database.prepare('SELECT count(*) AS number FROM mersal_queue_messages').get(),
  ).toMatchObject({ number: 2 })
})

test('two copies of SQLite on one file in one process are refused, since they would drop the locks of each other', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path })
  await store.open()
  const database = openHandle('better-sqlite3', path)
  await using other = sqliteQueue({ database })
  await expect(other.subscribe('q', [])).rejects.toMatchObject({ code: 'MERSAL_STORE_UNSAFE' })
  database.close()
})

test('two paths to one file, one of them a link, queue at the same lock', async () => {
  using folder = temporaryFolder()
  symlinkSync(folder.file('app.db'), folder.file('link.db'))
  await using store = sqlite({ path: folder.file('app.db'), busyTimeoutMs: 0 })
  await using linked = sqlite({ path: folder.file('link.db'), busyTimeoutMs: 0 })
  await store.open()
  await linked.open()
  const order: string[] = []
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  const first = store.unitOfWork(async () => {
    order.push('first begins')
    await gate
    order.push('first ends')
  })
  const second = linked.unitOfWork(async () => {
    order.push('second')
  })
  setImmediate(open)
  await Promise.all([first, second])
  expect(order).toEqual(['first begins', 'first ends', 'second'])
})
