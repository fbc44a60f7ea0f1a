import { sql } from 'drizzle-orm'
import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core'

export const orders = pgTable('orders', {
  id: uuid().primaryKey(),
  customer: text().notNull(),
  item: text().notNull(),
  quantity: integer().notNull(),
  amountCents: integer('amount_cents').notNull(),
})

export const stock = pgTable('stock', {
  item: text().primaryKey(),
  priceCents: integer('price_cents').notNull(),
  available: integer().notNull(),
})

export const makeTables = [
  sql`CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY, customer text NOT NULL, item text NOT NULL, quantity integer NOT NULL, amount_cents integer NOT NULL)`,
  sql`CREATE TABLE IF NOT EXISTS stock (
    item text PRIMARY KEY, price_cents integer NOT NULL, available integer NOT NULL CHECK (available >= 0))`,
  sql`INSERT INTO stock VALUES ('tea', 450, 1000), ('coffee', 780, 1000), ('saffron', 2990, 5) ON CONFLICT DO NOTHING`,
]
