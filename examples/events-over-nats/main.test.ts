import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { natsIsHere, openPrivateNats } from '../../test/nats/server.ts'
import { openBilling, openShop } from './main.ts'

test.skipIf(!natsIsHere())(
  'every order has one invoice, also when NATS is killed between them, and none comes of what was rolled back',
  async ({ onTestFinished }) => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    await using server = await openPrivateNats()
    const seen = new Set<number>()
    let arrived = Promise.withResolvers<void>()
    const billing = openBilling(folder, server.url, (orderId) => {
      seen.add(orderId)
      arrived.resolve()
      arrived = Promise.withResolvers()
    })
    const shop = openShop(folder, server.url)
    await billing.app.start()
    await shop.app.start()
    onTestFinished(async () => {
      await shop.app.stop()
      await billing.app.stop()
    })

    await shop.placeOrder(1, 'tea')
    await expect(shop.placeOrder(1, 'the same again')).rejects.toThrow()
    await server.signal('SIGKILL')
    await shop.placeOrder(2, 'milk') // needs no broker
    await server.start()
    await shop.placeOrder(3, 'bread')
    while (seen.size < 3) await arrived.promise

    expect(seen).toEqual(new Set([1, 2, 3]))
    await expect.poll(() => billing.invoices()).toBe(3)
  },
)
