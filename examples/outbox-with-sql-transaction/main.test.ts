import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Listener } from '../listen.ts'
import { OrderPlaced, openShop } from './main.ts'

test('the event exists if and only if the transaction of the program commits', async ({
  onTestFinished,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  await using listener = await new Listener(folder).listen(OrderPlaced.name)
  const shop = await openShop(folder)
  onTestFinished(() => shop.close())

  await expect(shop.placeOrder('nothing', 0)).rejects.toThrow('CHECK constraint failed')
  await shop.placeOrder('tea', 2)
  await shop.placeOrder('milk', 1)

  expect(shop.orders()).toEqual(['tea', 'milk'])
  expect(await listener.until(2)).toEqual([
    { orderId: 1, item: 'tea' },
    { orderId: 2, item: 'milk' },
  ])
})
