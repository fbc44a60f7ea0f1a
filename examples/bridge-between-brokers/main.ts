/**
 * A bridge: what the shop publishes on Redis comes to the warehouse on RabbitMQ. It is an app with
 * two transports. Its inbox takes each event once, and its outbox keeps it until RabbitMQ has it.
 */
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
