/** Makes a parcel for every order. */
import { sql } from 'drizzle-orm'
import { integer, pgTable, serial, text, uuid } from 'drizzle-orm/pg-core'
import { Mersal } from '../../../src/index.ts' // in your program: 'mersal'
import { rabbitmq } from '../../../src/rabbitmq.ts' // 'mersal/rabbitmq'
import { OrderPlaced } from '../contract.ts'
import { openDatabase } from '../database.ts'
import { required } from '../environment.ts'
import { runSubscriber } from '../subscriber.ts'

const parcels = pgTable('parcels', {
  number: serial().primaryKey(),
  orderId: uuid('order_id').notNull(),
  customer: text().notNull(),
  item: text().notNull(),
  quantity: integer().notNull(),
})

const database = await openDatabase(
  sql`CREATE TABLE IF NOT EXISTS parcels (
    number serial PRIMARY KEY, order_id uuid NOT NULL, customer text NOT NULL, item text NOT NULL, quantity integer NOT NULL)`,
)
const app = new Mersal({
  name: 'shipping',
  store: database.store,
  transport: rabbitmq({ url: required('AMQP_URL') }),
})

app.handle(OrderPlaced, async ({ orderId, customer, item, quantity }, { tx }) => {
  await tx.insert(parcels).values({ orderId, customer, item, quantity })
})

await runSubscriber('shipping', app, database)
