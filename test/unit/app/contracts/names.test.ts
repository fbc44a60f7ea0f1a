import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { command, Mersal } from '../../../../src/index.ts'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'

test('P2: a message that waits in the outbox while its code is renamed is handled under its name', async ({
  onTestFinished,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-names-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const open = () => ({
    name: 'shop',
    store: sqlite({ path: join(folder, 'shop.db') }),
    transport: sqliteQueue({ path: join(folder, 'queue.db') }),
  })
  const PlaceOrder = command<{ order: number }>('orders.place')
  const before = new Mersal(open())
  before.handle(PlaceOrder, () => {})
  await before.transaction((_, { send }) => send(PlaceOrder, { order: 7 }))
  await before.stop()

  const Purchase = command<{ order: number }>('orders.place')
  const after = new Mersal(open())
  const handled = Promise.withResolvers<unknown>()
  after.handle(Purchase, (body) => handled.resolve(body))
  await after.start()
  onTestFinished(() => after.stop())
  expect(await handled.promise).toEqual({ order: 7 })
})
