import { event, type Mersal } from '../src/index.ts'

const Placed = event<{ id: number }>('orders.placed')
const Paid = event<{ id: number }>('orders.paid')

/**
 * Two handlers for an app: the second one takes what the first one publishes. Returns what sends
 * this number of messages, a hundred in each transaction, and resolves when all are handled.
 */
export function chainOfHandlers<Tx>(app: Mersal<Tx>, messages: number): () => Promise<void> {
  let left = 0
  let over = Promise.withResolvers<void>()
  app.handle(Placed, async ({ id }, { publish }) => {
    await publish(Paid, { id })
  })
  app.handle(Paid, () => {
    if (--left === 0) over.resolve()
  })
  return async () => {
    left = messages
    over = Promise.withResolvers()
    for (let id = 0; id < messages; id += 100)
      await app.transaction(async (_, { publish }) => {
        for (let more = 0; more < 100; more++) await publish(Placed, { id: id + more })
      })
    await over.promise
  }
}
