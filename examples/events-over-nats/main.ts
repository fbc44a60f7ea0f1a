/**
 * Two programs talk over NATS JetStream. The shop writes the order and its event in one transaction
 * of its own database; the invoice exists once, however often the event comes.
 */
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { nats } from '../../src/nats.ts' // 'mersal/nats'
import { sqlite } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const OrderPlaced = event<{ orderId: number; item: string }>('shop.order-placed')

export function openShop(folder: string, url: string) {
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: nats({ url }),
    sendOnly: true,
  })
  const placeOrder = (orderId: number, item: string): Promise<void> =>
    app.transaction(async (tx, { publish }) => {
      tx.exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)')
      tx.prepare('INSERT INTO orders (id, item) VALUES (?, ?)').run(orderId, item)
      await publish(OrderPlaced, { orderId, item })
    })
  return { app, placeOrder }
}

/** `invoiced` is told of each invoice. */
export function openBilling(folder: string, url: string, invoiced: (orderId: number) => void) {
  const app = new Mersal({
    name: 'billing',
    store: sqlite({ path: `${folder}/billing.db` }),
    transport: nats({ url }),
  })
  app.handle(OrderPlaced, ({ orderId }, { tx }) => {
    tx.exec('CREATE TABLE IF NOT EXISTS invoices (number INTEGER PRIMARY KEY, order_id INTEGER)')
    tx.prepare('INSERT INTO invoices (order_id) VALUES (?)').run(orderId)
    invoiced(orderId)
  })
  const invoices = (): Promise<number> =>
    app.transaction((tx) =>
      Promise.resolve(
        Number(tx.prepare('SELECT count(*) AS count FROM invoices').get()?.['count']),
      ),
    )
  return { app, invoices }
}
