import {
  type Disposition,
  type HandlerContext,
  type Store,
  command,
  event,
} from '../../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../../src/memory.ts'
import { json } from '../../../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../../../support/shop.ts'

export const Place = command<{ id: number }>('orders.place')
export const Placed = event<{ id: number }>('orders.placed')

type Context = HandlerContext<MemoryTransaction>
type Options = ShopOptions & { batch?: number }

/**
 * An app whose handler notes what it is called with, in a list per transaction, and then does
 * `work`.
 */
export async function batchShop(
  { batch = 10, ...options }: Options,
  work: (id: number, context: Context) => unknown,
) {
  const { app, store, transport, rows, data } = openShop(options)
  const units = new Map<MemoryTransaction, number[]>()
  app.handle(
    Place,
    async ({ id }, context) => {
      units.set(context.tx, [...(units.get(context.tx) ?? []), id])
      context.tx.set(`order ${id}`, true)
      await work(id, context)
    },
    { batch },
  )
  await app.start()
  const place = (
    id: number,
    more: { messageId?: string; attempt?: number; signal?: AbortSignal } = {},
  ): Promise<Disposition> => {
    const { messageId = `m${id}`, ...delivery } = more
    return transport.deliver(
      'shop',
      { id: messageId, type: 'orders.place', body: json({ id }) },
      delivery,
    )
  }
  return {
    app,
    store,
    transport,
    place,
    placeAll: (ids: readonly number[]) => Promise.all(ids.map((id) => place(id))),
    units: () => [...units.values()],
    orders: data,
    rows,
  }
}

export const acks = (count: number): Disposition[] =>
  Array.from({ length: count }, () => ({ kind: 'ack' }))
export const numbers = (count: number): number[] =>
  Array.from({ length: count }, (_, index) => index + 1)

/**
 * A store whose units of work go through `around`, which may fail instead of, or after, the unit
 * itself.
 */
export function around(wrap: (unit: () => Promise<unknown>) => Promise<unknown>) {
  return (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
    ...store,
    unitOfWork: ((work, options) =>
      wrap(() => store.unitOfWork(work, options))) as Store<MemoryTransaction>['unitOfWork'],
  })
}
