import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openShop } from './main.ts'

test('orders and shipments of each tenant are in its own file', async ({ onTestFinished }) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const lines: string[] = []
  const shop = await openShop(folder, (line) => void lines.push(line))
  await shop.place('acme', 'an anvil')
  await shop.place('globex', 'a rope')
  await shop.tenants.add('initech')
  await shop.place('initech', 'a stapler')
  await expect(shop.place('hooli', 'a box')).rejects.toThrow("there is no tenant 'hooli'")
  await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(3)
  await shop.tenants.stop()
  expect(lines.toSorted()).toEqual([
    'acme ships an anvil',
    'globex ships a rope',
    'initech ships a stapler',
  ])
  for (const [tenant, item] of [
    ['acme', 'an anvil'],
    ['globex', 'a rope'],
    ['initech', 'a stapler'],
  ]) {
    // A plain client reads back what is in each file.
    using database = new DatabaseSync(`${folder}/${tenant}.db`, {
      readOnly: true,
    }) as DatabaseSync & Disposable
    for (const table of ['orders', 'shipments'])
      expect(database.prepare(`select item from ${table}`).all()).toEqual([{ item }])
    expect(database.prepare('select * from mersal_outbox').all()).toEqual([])
  }
})
