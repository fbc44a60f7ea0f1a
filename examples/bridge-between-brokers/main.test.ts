import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openVhost, rabbitIsHere } from '../../test/rabbitmq/broker.ts'
import { openPrivateRedis, redisIsHere } from '../../test/redis/server.ts'
import { openBridge, openShop, openWarehouse } from './main.ts'

test.skipIf(!redisIsHere() || !(await rabbitIsHere()))(
  'every order comes to the warehouse once, also when Redis is killed and the bridge is away meanwhile',
  async ({ onTestFinished }) => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    await using redis = await openPrivateRedis()
    await using vhost = await openVhost()
    const places = { folder, redisUrl: redis.url, amqpUrl: vhost.url }
    const seen: number[] = []
    const warehouse = openWarehouse(places, (orderId) => void seen.push(orderId))
    const bridge = openBridge(places)
    const shop = openShop(places)
    await warehouse.start()
    await bridge.start()
    await shop.app.start()
    await shop.placeOrder(1, 'tea')
    await expect.poll(() => seen).toEqual([1])

    await bridge.stop()
    await redis.signal('SIGKILL')
    await shop.placeOrder(2, 'milk') // needs no broker
    await redis.start()
    await shop.placeOrder(3, 'bread') // waits on Redis
    const again = openBridge(places)
    await again.start()
    await expect
      .poll(() => seen.toSorted((one, other) => one - other), { timeout: 30_000 })
      .toEqual([1, 2, 3])
    await Promise.all([shop.app, again, warehouse].map((app) => app.stop()))
    expect(seen).toHaveLength(3)
  },
)
