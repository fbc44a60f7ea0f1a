import { randomUUID } from 'node:crypto'
import { and, eq, gte, sql } from 'drizzle-orm'
import type { Mersal } from '../../../src/index.ts' // in your program: 'mersal'
import { type Order, OrderPlaced } from '../contract.ts'
import type { Tx } from '../database.ts'
import { orders, stock } from './tables.ts'

export type Wish = Pick<Order, 'customer' | 'item' | 'quantity'>

/** The shop cannot fulfil this wish. Thrown inside the transaction, it takes everything back. */
export class Refused extends Error {}

/**
 * One transaction: the order, the event, the stock. The stock comes last, since all orders of an
 * item wait for its row; so an order that is refused was already written and published. It is
 * rolled back, and the event with it.
 */
export async function placeOrder(app: Mersal<Tx>, wish: Wish): Promise<Order> {
  return await app.transaction(async (tx, { publish }) => {
    const order = {
      orderId: randomUUID(),
      ...wish,
      amountCents: (await priceOf(tx, wish.item)) * wish.quantity,
    }
    const { orderId, ...columns } = order
    await tx.insert(orders).values({ id: orderId, ...columns })
    await publish(OrderPlaced, order, { partitionKey: order.customer })
    await takeFromStock(tx, wish)
    return order
  })
}

async function priceOf(tx: Tx, item: string): Promise<number> {
  const [row] = await tx
    .select({ priceCents: stock.priceCents })
    .from(stock)
    .where(eq(stock.item, item))
  if (row === undefined) throw new Refused('there is no such item')
  return row.priceCents
}

async function takeFromStock(tx: Tx, { item, quantity }: Wish): Promise<void> {
  const taken = await tx
    .update(stock)
    .set({ available: sql`${stock.available} - ${quantity}` })
    .where(and(eq(stock.item, item), gte(stock.available, quantity)))
    .returning()
  if (taken.length === 0) throw new Refused('there is not enough of it')
}
