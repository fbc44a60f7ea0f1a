import { type Disposition, type HandlerContext, Mersal, type MersalOptions, type Store, command, event } from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/memory.ts'
import { fakeTransport, json } from './fake-transport.ts'

export const Place = command<{ id: number }>('orders.place')
export const Placed = event<{ id: number }>('orders.placed')

type Context = HandlerContext<MemoryTransaction>
type Options = Partial<MersalOptions<MemoryTransaction>> & {
  batch?: number
  change?: (store: Store<MemoryTransaction>) => Store<MemoryTransaction>
}

/** An app whose handler notes what it is called with, in a list per transaction, and then does `work`. */
export async function batchShop(
  { change = (store) => store, batch = 10, ...options }: Options,
  work: (id: number, context: Context) => unknown,
) {
  const store = change(memoryStore())
  const transport = fakeTransport()
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store,
    transport,
    outbox: { runRelay: false },
    logger: false,
    random: () => 1,
    ...options,
    receive: { immediateRetries: 0, ...options.receive },
  })
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
  const place = (id: number, more: { messageId?: string; attempt?: number; signal?: AbortSignal } = {}): Promise<Disposition> => {
    const { messageId = `m${id}`, ...delivery } = more
    return transport.deliver('shop', { id: messageId, type: 'orders.place', body: json({ id }) }, delivery)
  }
  return {
    app,
    store,
    transport,
    place,
    placeAll: (ids: readonly number[]) => Promise.all(ids.map((id) => place(id))),
    units: () => [...units.values()],
    orders: () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key)),
    rows: async () => (await store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })).map((row) => row.message),
  }
}

export const acks = (count: number): Disposition[] => Array.from({ length: count }, () => ({ kind: 'ack' }))
export const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

/** A store whose units of work go through `around`, which may fail instead of, or after, the unit itself. */
export function around(wrap: (unit: () => Promise<unknown>) => Promise<unknown>) {
  return (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
    ...store,
    unitOfWork: ((work, options) => wrap(() => store.unitOfWork(work, options))) as Store<MemoryTransaction>['unitOfWork'],
  })
}
