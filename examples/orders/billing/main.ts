/** Writes an invoice for every order. */
import { sql } from 'drizzle-orm'
import { integer, pgTable, serial, text, uuid } from 'drizzle-orm/pg-core'
import { Mersal } from '../../../src/index.ts' // in your program: 'mersal'
import { rabbitmq } from '../../../src/rabbitmq.ts' // 'mersal/rabbitmq'
import { OrderPlaced } from '../contract.ts'
import { openDatabase } from '../database.ts'
import { required } from '../environment.ts'
import { runSubscriber } from '../subscriber.ts'

// Nothing here forbids two invoices for one order: it is the inbox that keeps them from being
// written.
const invoices = pgTable('invoices', {
  number: serial().primaryKey(),
  orderId: uuid('order_id').notNull(),
  customer: text().notNull(),
  amountCents: integer('amount_cents').notNull(),
})

const database = await openDatabase(
  sql`CREATE TABLE IF NOT EXISTS invoices (
    number serial PRIMARY KEY, order_id uuid NOT NULL, customer text NOT NULL, amount_cents integer NOT NULL)`,
)
const app = new Mersal({
  name: 'billing',
  store: database.store,
  transport: rabbitmq({ url: required('AMQP_URL') }),
})

app.handle(OrderPlaced, async ({ orderId, customer, amountCents }, { tx }) => {
  await tx.insert(invoices).values({ orderId, customer, amountCents })
})

await runSubscriber('billing', app, database)
