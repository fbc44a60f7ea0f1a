/** What the services have in common: the event, and nothing else. */
import { z } from 'zod'
import { event } from '../../src/index.ts' // in your program: 'mersal'

export const orderPlaced = z.object({
  orderId: z.uuid(),
  customer: z.string().min(1),
  item: z.string().min(1),
  quantity: z.number().int().positive(),
  amountCents: z.number().int().nonnegative(),
})
export type Order = z.infer<typeof orderPlaced>

export const OrderPlaced = event('orders.placed', orderPlaced)
