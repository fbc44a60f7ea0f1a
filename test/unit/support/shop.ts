import { Mersal, type MersalOptions, type Store } from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/memory.ts'
import { fakeTransport } from './fake-transport.ts'

export type ShopOptions = Partial<MersalOptions<MemoryTransaction>> & {
  change?: (store: Store<MemoryTransaction>) => Store<MemoryTransaction>
}

/**
 * An app with a broker in the hands of the test, no relay, no immediate retries and no luck in its
 * delays.
 */
export function openShop({ change = (store) => store, ...options }: ShopOptions = {}) {
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
  const rows = async () =>
    (await store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })).map(
      (row) => row.message,
    )
  const data = () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key))
  return { app, store, transport, rows, data }
}
