/** Broken: the handler writes its effect into another database than that of its transaction. */
import { DatabaseSync } from 'node:sqlite'
import { defineProof } from '../../../src/testing/index.ts'
import { OrderPlaced, openShop } from './shop.ts'

export default defineProof({
  open(place) {
    const elsewhere = new DatabaseSync(`${place.folder}/elsewhere.db`)
    elsewhere.exec('CREATE TABLE IF NOT EXISTS invoices (id INTEGER PRIMARY KEY, n INTEGER)')
    return openShop(place, (n) => {
      elsewhere.prepare('INSERT INTO invoices (n) VALUES (?)').run(n)
    })
  },
  act: (app, n) =>
    app.transaction(async (tx, { publish }) => {
      tx.prepare('INSERT INTO orders VALUES (?)').run(n)
      await publish(OrderPlaced, { n })
    }),
  rows: 'SELECT n FROM orders',
  effects: (place) => place.query('SELECT n FROM invoices ORDER BY id', 'elsewhere.db'),
})
