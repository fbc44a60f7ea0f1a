/** Broken: the row is committed first, and the message is sent after that. */
import { DatabaseSync } from 'node:sqlite'
import { defineProof } from '../../../src/testing/index.ts'
import { OrderPlaced, openShop } from './shop.ts'

export default defineProof({
  open: openShop,
  async act(app, n, { folder }) {
    const database = new DatabaseSync(`${folder}/app.db`, { timeout: 5000 })
    database.prepare('INSERT INTO orders VALUES (?)').run(n)
    database.close()
    await app.transaction(async (_, { publish }) => void (await publish(OrderPlaced, { n })))
  },
  rows: 'SELECT n FROM orders',
  effects: 'SELECT n FROM invoices ORDER BY id',
})
