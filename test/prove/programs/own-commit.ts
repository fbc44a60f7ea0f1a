/** Broken: it ends the transaction that it was given, and goes on in one of its own. */
import { defineProof } from '../../../src/testing/index.ts'
import { OrderPlaced, openShop } from './shop.ts'

export default defineProof({
  open: openShop,
  act: (app, n) =>
    app.transaction(async (tx, { publish }) => {
      tx.exec(`INSERT INTO orders VALUES (${n}); COMMIT; BEGIN`)
      await publish(OrderPlaced, { n })
    }),
  rows: 'SELECT n FROM orders',
  effects: 'SELECT n FROM invoices ORDER BY id',
})
