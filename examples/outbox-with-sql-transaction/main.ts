/**
 * You have a database handle and begin transactions yourself. `within(tx)` adds messages to the
 * transaction that is open: they exist if and only if you commit.
 *
 * `node examples/outbox-with-sql-transaction/main.ts` prints what becomes of two orders.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const OrderPlaced = event<{ orderId: number; item: string }>('shop.order-placed')

export async function openShop(folder: string): Promise<Shop> {
  // Yours. The app opens a connection of its own to the same file, for its relay.
  const database = new DatabaseSync(`${folder}/shop.db`)
  database.exec(
    'CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0))',
  )
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
  })
  await app.start()
  return new Shop(database, app)
}

export class Shop {
  readonly app: Mersal<DatabaseSync>
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync, app: Mersal<DatabaseSync>) {
    this.#database = database
    this.app = app
  }

  /** Tells everybody about the order, and only then finds out whether it can be stored. */
  async placeOrder(item: string, amount: number): Promise<number> {
    const tx = this.#database
    tx.exec('BEGIN IMMEDIATE')
    try {
      const orderId = this.orders().length + 1
      await this.app.within(tx).publish(OrderPlaced, { orderId, item })
      tx.prepare('INSERT INTO orders (id, item, amount) VALUES (?, ?, ?)').run(
        orderId,
        item,
        amount,
      )
      tx.exec('COMMIT')
      this.app.wake() // optional: the relay looks at once instead of within its poll interval
      return orderId
    } catch (error) {
      tx.exec('ROLLBACK') // takes the message back as well
      throw error
    }
  }

  orders(): string[] {
    return this.#database
      .prepare('SELECT item FROM orders ORDER BY id')
      .all()
      .map(({ item }) => String(item))
  }

  async close(): Promise<void> {
    await this.app.stop()
    this.#database.close()
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  // Somebody wants the event: without a queue for it, the relay would complain, and try again.
  const broker = sqliteQueue({ path: `${folder}/broker.db` })
  await broker.subscribe('mail', [OrderPlaced.name])
  await broker[Symbol.asyncDispose]()
  const shop = await openShop(folder)
  try {
    for (const amount of [0, 2])
      await shop.placeOrder('tea', amount).then(
        (orderId) => process.stdout.write(`${amount} of tea are order ${orderId}\n`),
        () => process.stdout.write(`${amount} of tea are refused: no order, and no event\n`),
      )
  } finally {
    await shop.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
