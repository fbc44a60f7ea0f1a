import type { Store } from '../../../src/core/store.ts'
import { command, event, type Mersal } from '../../../src/index.ts'
import { createTenants, type Tenants, type TenantsOptions } from '../../../src/tenants/index.ts'
import {
  memoryDatabase,
  type MemoryDatabase,
  memoryNetwork,
  type MemoryNetwork,
  memoryStore,
  type MemoryTransaction,
} from '../../../src/memory.ts'

export const Order = command<{ item: string }>('orders.place')
export const Placed = event<{ item: string }>('orders.placed')

export type Tx = MemoryTransaction

/** Tenants in memory: what each has handled is in its own database. */
export interface Scene {
  readonly network: MemoryNetwork
  readonly tenants: Tenants<Tx>
  /** By tenant; they outlive its app. */
  readonly databases: Map<string, MemoryDatabase>
  /** What was handled, as `tenant:item`, in order. */
  readonly handled: string[]
  readonly opened: string[]
}

export type SceneOptions = Partial<TenantsOptions<Tx>> & {
  readonly handle?: (app: Mersal<Tx>, handled: string[]) => void
  readonly wrap?: (store: Store<Tx>, tenant: string) => Store<Tx>
}

export function openScene({
  handle,
  wrap = (store) => store,
  ...options
}: SceneOptions = {}): Scene {
  const network = memoryNetwork()
  const databases = new Map<string, MemoryDatabase>()
  const handled: string[] = []
  const opened: string[] = []
  const tenants = createTenants<Tx>({
    name: 'orders',
    transport: network.transport(),
    tenants: ['acme', 'globex'],
    store(tenant) {
      opened.push(tenant)
      const database = databases.get(tenant) ?? memoryDatabase()
      databases.set(tenant, database)
      return wrap(memoryStore({ database }), tenant)
    },
    setUp(app) {
      if (handle !== undefined) return handle(app, handled)
      app.handle(Order, async ({ item }, { tenant, publish }) => {
        handled.push(`${tenant}:${item}`)
        await publish(Placed, { item })
      })
      app.handle(Placed, ({ item }, { tenant }) => void handled.push(`${tenant}:${item} placed`))
    },
    logger: false,
    ...options,
  })
  return { network, tenants, databases, handled, opened }
}
