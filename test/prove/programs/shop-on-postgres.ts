/** Orders on PostgreSQL, told over RabbitMQ where there is one, else by a queue in the database. */
import pg from 'pg'
import { event, Mersal } from '../../../src/index.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { defineProof } from '../../../src/testing/index.ts'

const OrderPlaced = event<{ n: number }>('orders.placed')
const keyOf = (n: number): string => `customer-${n % 2}`

export default defineProof({
  async open({ databaseUrl, brokerUrl }) {
    const pool = new pg.Pool({ connectionString: databaseUrl })
    await pool.query('create table if not exists orders (n integer primary key)')
    await pool.query('create table if not exists invoices (id serial primary key, n integer)')
    const app = new Mersal({
      name: 'shop',
      store: postgres({ pool }),
      transport:
        brokerUrl === undefined
          ? postgresQueue({ pool, visibilityMs: 2000 })
          : rabbitmq({ url: brokerUrl, queueType: 'classic' }),
      outbox: { relay: { claimMs: 2000 } },
      receive: { orderPerKey: true },
    })
    app.handle(OrderPlaced, async ({ n }, { tx }) => {
      await tx.query('insert into invoices (n) values ($1)', [n])
    })
    await app.start()
    return app
  },
  act: (app, n) =>
    app.transaction(async (tx, { publish }) => {
      await tx.query('insert into orders values ($1)', [n])
      await publish(OrderPlaced, { n }, { partitionKey: keyOf(n) })
    }),
  rows: 'select n from orders',
  effects: 'select n from invoices order by id',
  keyOf,
})
