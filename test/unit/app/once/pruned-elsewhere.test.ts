import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { Mersal } from '../../../../src/index.ts'
import { systemClock } from '../../../../src/lib/async/clock.ts'
import { sqlite } from '../../../../src/sqlite.ts'
import { memoryNetwork } from '../../../../src/transports/memory.ts'
import { temporaryFolder } from '../../../contract/sqlite-harness.ts'

/** An app whose clock is ahead by this time, in milliseconds. */
function appOn(path: string, aheadMs = 0): Mersal<DatabaseSync> {
  const clock = { ...systemClock, now: () => systemClock.now() + aheadMs }
  const transport = memoryNetwork().transport()
  return new Mersal({
    name: 'shop',
    store: sqlite({ path, clock }),
    transport,
    logger: false,
    sendOnly: true,
  })
}

test('a started app removes the rows of others, though it never calls once', async () => {
  using folder = temporaryFolder()
  const path = folder.file('shop.db')
  const caller = appOn(path)
  await caller.once({ key: 'k', keepMs: 60_000 }, async () => 1)
  await caller.stop()
  using database = new DatabaseSync(path)
  const rows = () => database.prepare('select key from mersal_once').all().length
  expect(rows()).toBe(1)
  const other = appOn(path, 120_000)
  await other.start()
  await expect.poll(rows, { timeout: 10_000 }).toBe(0)
  await other.stop()
})

test('a program without once needs no table for its janitor', async () => {
  using folder = temporaryFolder()
  const path = folder.file('shop.db')
  const app = appOn(path)
  await app.start()
  await app.transaction(async () => {})
  await app.stop()
  using database = new DatabaseSync(path)
  const tables = database.prepare("select name from sqlite_schema where name = 'mersal_once'").all()
  expect(tables).toEqual([])
})
