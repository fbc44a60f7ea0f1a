import type { DatabaseSync } from 'node:sqlite'
import { event, Mersal, type UnitSender } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const OrderPlaced = event<{ order: number; item: string }>('orders.placed')

/** `runRelay: false` for functions, where nothing can run behind a request. */
export function shopApp(folder: string, runRelay = true): Mersal<DatabaseSync> {
  return new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
    outbox: { runRelay },
  })
}

/** What each of the servers does for `POST /orders`: row and event in one transaction. */
export async function placeOrder(
  item: string,
  tx: DatabaseSync,
  { publish }: UnitSender,
): Promise<{ order: number }> {
  tx.exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)')
  const row = tx.prepare('INSERT INTO orders (item) VALUES (?) RETURNING id').get(item)
  const order = Number(row?.['id'])
  await publish(OrderPlaced, { order, item })
  return { order }
}

/** A server that listens. */
export interface Listening {
  readonly url: string
  readonly close: () => Promise<void>
}
