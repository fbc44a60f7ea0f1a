/** `npx mersal prove` in this folder: requests are repeated after each crash, as clients do. */
import { Mersal } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'
import { defineProof } from '../../src/testing/index.ts' // 'mersal/testing'
import { checkout, openShop, OrderPlaced } from './main.ts'

export default defineProof({
  async open({ folder }) {
    const stock = new Mersal({
      name: 'stock',
      store: sqlite({ path: `${folder}/app.db` }),
      transport: sqliteQueue({ path: `${folder}/broker.db`, visibilityMs: 2000 }),
    })
    stock.handle(OrderPlaced, ({ item }, { tx }) => {
      tx.prepare('INSERT INTO taken VALUES (?)').run(item)
    })
    await stock.transaction(async (tx) =>
      tx.exec('CREATE TABLE IF NOT EXISTS taken (item TEXT NOT NULL)'),
    )
    await stock.start()
    return await openShop(folder)
  },
  async act({ url }, n) {
    const answer = await checkout(url, `key-${n}`, `${n}`)
    if (!answer.startsWith('201')) throw new Error(answer)
  },
  rows: (place) => place.query('SELECT item FROM orders', 'shop.db'),
  effects: 'SELECT item FROM taken',
})
