/**
 * One shop program for several customers, each with a database file of its own. What a customer's
 * order leads to is handled in that customer's database.
 *
 * `node examples/tenants/main.ts` prints what happens to some orders.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { event } from '../../src/index.ts' // in your program: 'mersal'
import { createTenants, type Tenants } from '../../src/tenants/index.ts' // 'mersal/tenants'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

const OrderPlaced = event<{ item: string }>('orders.placed')

export interface Shop extends AsyncDisposable {
  readonly tenants: Tenants<DatabaseSync>
  /** The order and its event exist in the database of this tenant, or neither does. */
  place(tenant: string, item: string): Promise<void>
}

export async function openShop(folder: string, say: (line: string) => void): Promise<Shop> {
  const tenants = createTenants({
    name: 'shop',
    tenants: ['acme', 'globex'],
    store: (tenant) => sqlite({ path: `${folder}/${tenant}.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db`, pollIntervalMs: 10 }),
    setUp(app) {
      app.handle(OrderPlaced, ({ item }, { tenant, tx }) => {
        tx.exec('create table if not exists shipments (item text not null)')
        tx.prepare('insert into shipments (item) values (?)').run(item)
        say(`${tenant} ships ${item}`)
      })
    },
  })
  await tenants.start()
  return {
    tenants,
    async place(tenant, item) {
      const app = await tenants.get(tenant)
      await app.transaction(async (tx, { publish }) => {
        tx.exec('create table if not exists orders (item text not null)')
        tx.prepare('insert into orders (item) values (?)').run(item)
        await publish(OrderPlaced, { item })
      })
    },
    [Symbol.asyncDispose]: () => tenants.stop(),
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  const all = Promise.withResolvers<void>()
  let lines = 0
  const shop = await openShop(folder, (line) => {
    process.stdout.write(`${line}\n`)
    if (++lines === 3) all.resolve()
  })
  try {
    await shop.place('acme', 'an anvil')
    await shop.place('globex', 'a rope')
    await shop.tenants.add('initech') // while the others work
    await shop.place('initech', 'a stapler')
    await all.promise
    for (const { name, state } of shop.tenants.list()) process.stdout.write(`${name} is ${state}\n`)
  } finally {
    await shop.tenants.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
