import type { DatabaseSync } from 'node:sqlite'
import { event, Mersal } from '../../../src/index.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'

export const OrderPlaced = event<{ n: number }>('orders.placed')

/** One app that takes orders and writes their invoices, in its transaction or by `effect`. */
export async function openShop(
  { folder }: { readonly folder: string },
  effect?: (n: number) => void,
): Promise<Mersal<DatabaseSync>> {
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/app.db` }),
    transport: sqliteQueue({ path: `${folder}/queue.db`, visibilityMs: 1000, pollIntervalMs: 50 }),
    outbox: { relay: { claimMs: 1000 } },
  })
  app.handle(OrderPlaced, ({ n }, { tx }) => {
    if (effect === undefined) tx.prepare('INSERT INTO invoices (n) VALUES (?)').run(n)
    else effect(n)
  })
  await app.transaction(async (tx) =>
    tx.exec(`CREATE TABLE IF NOT EXISTS orders (n INTEGER PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS invoices (id INTEGER PRIMARY KEY, n INTEGER)`),
  )
  await app.start()
  return app
}
