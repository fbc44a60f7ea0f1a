import { eq } from 'drizzle-orm'
import { Hono } from 'hono'
import type { Mersal } from '../../../src/index.ts' // in your program: 'mersal'
import { orderPlaced } from '../contract.ts'
import type { Database, Tx } from '../database.ts'
import { Refused, placeOrder } from './place-order.ts'
import { orders } from './tables.ts'

const wish = orderPlaced.pick({ customer: true, item: true, quantity: true })

/**
 * `POST /orders` with `{ "customer", "item", "quantity" }`: 201 with the order, 400 for a bad body,
 * 409 if the shop refuses. `GET /orders/<id>`. `GET /health`.
 */
export function shopRoutes(app: Mersal<Tx>, { db }: Database): Hono {
  const routes = new Hono()
  routes.post('/orders', async (context) => {
    const parsed = wish.safeParse(await context.req.json().catch(() => undefined))
    if (!parsed.success)
      return context.json(
        { error: 'expected { "customer": text, "item": text, "quantity": whole number }' },
        400,
      )
    try {
      const order = await placeOrder(app, parsed.data)
      return context.json(order, 201)
    } catch (error) {
      if (error instanceof Refused) return context.json({ error: error.message }, 409)
      throw error // Hono answers 500
    }
  })
  routes.get('/orders/:id{[0-9a-f-]{36}}', async (context) => {
    const [order] = await db
      .select()
      .from(orders)
      .where(eq(orders.id, context.req.param('id')))
    return order === undefined
      ? context.json({ error: 'there is no such order' }, 404)
      : context.json(order)
  })
  routes.get('/health', (context) => context.text('ok'))
  return routes
}
