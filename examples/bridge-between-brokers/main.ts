/**
 * A bridge: what the shop publishes on Redis comes to the warehouse on RabbitMQ. It is an app with
 * two transports. Its inbox takes each event once, and its outbox keeps it until RabbitMQ has it.
 *
 * `node examples/bridge-between-brokers/main.ts` prints what comes to the warehouse. It looks for
 * Redis at REDIS_URL and for RabbitMQ at AMQP_URL, by default on this machine.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { rabbitmq } from '../../src/rabbitmq.ts' // 'mersal/rabbitmq'
import { redis } from '../../src/redis.ts' // 'mersal/redis'
import { sqlite } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const OrderPlaced = event<{ orderId: number; item: string }>('shop.order-placed')

/** The database of the bridge, and where the two brokers are. */
export interface Places {
  readonly folder: string
  readonly redisUrl: string
  readonly amqpUrl: string
}

export function openBridge({ folder, redisUrl, amqpUrl }: Places) {
  const bridge = new Mersal({
    name: 'bridge',
    store: sqlite({ path: `${folder}/bridge.db` }),
    transport: redis({ url: redisUrl }),
    bridges: { warehouse: rabbitmq({ url: amqpUrl }) },
  })
  bridge.handle(OrderPlaced, async (body, { message, publish }) => {
    await publish(OrderPlaced, body, {
      to: { transport: 'warehouse' },
      id: message.id, // so the warehouse knows a copy for a copy
      partitionKey: `order-${body.orderId}`,
    })
  })
  return bridge
}

export function openShop({ folder, redisUrl }: Omit<Places, 'amqpUrl'>) {
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: redis({ url: redisUrl }),
    sendOnly: true,
  })
  const placeOrder = (orderId: number, item: string): Promise<string> =>
    app.transaction(async (tx, { publish }) => {
      tx.exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)')
      tx.prepare('INSERT INTO orders (id, item) VALUES (?, ?)').run(orderId, item)
      return await publish(OrderPlaced, { orderId, item })
    })
  return { app, placeOrder }
}

/** `handled` is told of each order that the warehouse has not had before. */
export function openWarehouse(
  { folder, amqpUrl }: Omit<Places, 'redisUrl'>,
  handled: (orderId: number) => void,
) {
  const app = new Mersal({
    name: 'warehouse',
    store: sqlite({ path: `${folder}/warehouse.db` }),
    transport: rabbitmq({ url: amqpUrl }),
  })
  app.handle(OrderPlaced, ({ orderId }) => handled(orderId))
  return app
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  const redisUrl = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'
  const amqpUrl = process.env['AMQP_URL'] ?? 'amqp://guest:guest@127.0.0.1:5672'
  const places = { folder, redisUrl, amqpUrl }
  const both = Promise.withResolvers<void>()
  let orders = 0
  const warehouse = openWarehouse(places, (orderId) => {
    process.stdout.write(`order ${orderId} has come to the warehouse\n`)
    if (++orders === 2) both.resolve()
  })
  const bridge = openBridge(places)
  const shop = openShop(places)
  try {
    for (const app of [warehouse, bridge, shop.app]) await app.start()
    await shop.placeOrder(1, 'tea')
    await shop.placeOrder(2, 'milk')
    await both.promise
  } finally {
    for (const app of [shop.app, bridge, warehouse]) await app.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
