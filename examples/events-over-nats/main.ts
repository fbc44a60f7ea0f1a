/**
 * Two programs talk over NATS JetStream. The shop writes the order and its event in one transaction
 * of its own database; the invoice exists once, however often the event comes.
 *
 * `NATS_URL=nats://127.0.0.1:4222 node examples/events-over-nats/main.ts` prints two invoices.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

async function main(): Promise<void> {
  const url = process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222'
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  const both = Promise.withResolvers<void>()
  let invoices = 0
  const billing = openBilling(folder, url, (orderId) => {
    process.stdout.write(`an invoice for order ${orderId}\n`)
    if (++invoices === 2) both.resolve()
  })
  const shop = openShop(folder, url)
  try {
    await billing.app.start()
    await shop.app.start()
    await shop.placeOrder(1, 'tea')
    await shop.placeOrder(2, 'milk')
    await both.promise
  } finally {
    await shop.app.stop()
    await billing.app.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
