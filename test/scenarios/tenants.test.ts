import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test, vi } from 'vitest'
import type { Store } from '../../src/core/store.ts'
import { command, event, type Transport } from '../../src/index.ts'
import { createTenants } from '../../src/tenants/index.ts'
import { mysql, type MysqlConnection } from '../../src/mysql.ts'
import { connectionBudget, postgres, type PostgresClient } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../mysql/server.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'

const Place = command<{ item: string; fails?: boolean }>('orders.place')
const Placed = event<{ item: string }>('orders.placed')
const names = ['t-1', 't-2', 't-3']
const COUNT = 20

/** Where the tenants of a test have their databases, seen by plain clients. */
interface Places<Tx> extends AsyncDisposable {
  readonly store: (tenant: string) => Store<Tx>
  readonly insert: (tx: Tx, tenant: string, text: string) => unknown
  /** The business rows of a tenant, in order. */
  readonly rows: (tenant: string) => Promise<string[]>
  /** What waits in its outbox, and the ids in its inbox. */
  readonly left: (tenant: string) => Promise<{ readonly outbox: number; readonly inbox: number }>
}

const numberOf = (rows: readonly Record<string, unknown>[]): number => Number(rows[0]!['count'])

async function schemas(): Promise<Places<PostgresClient>> {
  const own = new Map<string, Awaited<ReturnType<typeof testDatabase>>>()
  for (const name of names) own.set(name, await testDatabase())
  // One pool and one budget for all of them: the schema is all that tells them apart.
  const pool = own.get('t-1')!.newPool({ max: 24 })
  const connections = connectionBudget({ most: 12 })
  const of = (tenant: string) => own.get(tenant)!
  const count = async (tenant: string, table: string): Promise<number> =>
    numberOf(await of(tenant).query(`select count(*) from ${of(tenant).schema}.${table}`))
  return {
    store: (tenant) => postgres({ pool, schema: of(tenant).schema, connections }),
    insert: (tx, tenant, text) =>
      tx.query(`insert into ${of(tenant).schema}.business values ($1)`, [text]),
    rows: async (tenant) =>
      (await of(tenant).query(`select text from ${of(tenant).schema}.business order by text`)).map(
        ({ text }) => String(text),
      ),
    left: async (tenant) => ({
      outbox: await count(tenant, 'outbox'),
      inbox: await count(tenant, 'inbox'),
    }),
    async [Symbol.asyncDispose]() {
      for (const database of [...own.values()].toReversed()) await database[Symbol.asyncDispose]()
    },
  }
}

async function mariaDatabases(): Promise<Places<MysqlConnection>> {
  const own = new Map<string, Awaited<ReturnType<typeof mysqlDatabase>>>()
  for (const name of names) own.set(name, await mysqlDatabase())
  const of = (tenant: string) => own.get(tenant)!
  const pools = new Map(names.map((name) => [name, of(name).newPool({ connectionLimit: 12 })]))
  const count = async (tenant: string, table: string): Promise<number> =>
    numberOf(await of(tenant).query(`select count(*) as count from mersal_${table}`))
  return {
    store: (tenant) => mysql({ pool: pools.get(tenant)! }),
    insert: (tx, _tenant, text) => tx.execute('insert into business values (?)', [text]),
    rows: async (tenant) =>
      (await of(tenant).query('select text from business order by text')).map(({ text }) =>
        String(text),
      ),
    left: async (tenant) => ({
      outbox: await count(tenant, 'outbox'),
      inbox: await count(tenant, 'inbox'),
    }),
    async [Symbol.asyncDispose]() {
      for (const database of own.values()) await database[Symbol.asyncDispose]()
    },
  }
}

async function files(): Promise<Places<DatabaseSync>> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-tenants-'))
  const path = (tenant: string): string => join(folder, `${tenant}.db`)
  const ask = (tenant: string, text: string): Record<string, unknown>[] => {
    using database = new DatabaseSync(path(tenant)) as DatabaseSync & Disposable
    return database.prepare(text).all()
  }
  for (const name of names) {
    using database = new DatabaseSync(path(name)) as DatabaseSync & Disposable
    database.exec('create table business (text text not null)')
  }
  const count = (tenant: string, table: string): number =>
    numberOf(ask(tenant, `select count(*) as count from mersal_${table}`))
  return {
    store: (tenant) => sqlite({ path: path(tenant) }),
    insert: (tx, _tenant, text) => tx.prepare('insert into business values (?)').run(text),
    rows: async (tenant) =>
      ask(tenant, 'select text from business order by text').map(({ text }) => String(text)),
    left: async (tenant) => ({ outbox: count(tenant, 'outbox'), inbox: count(tenant, 'inbox') }),
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Orders of every tenant at once, each with an event that the same tenant handles. */
async function isolated<Tx>(places: Places<Tx>, transport: Transport): Promise<void> {
  const mixed: string[] = []
  const tenants = createTenants<Tx>({
    name: 'orders',
    tenants: names.slice(0, 2),
    store: places.store,
    transport,
    logger: false,
    receive: { concurrency: 4 },
    setUp(app, mine) {
      app.handle(
        Place,
        async ({ item, fails }, { tx, tenant, publish }) => {
          if (tenant !== mine || !item.startsWith(mine)) mixed.push(`${mine} ${tenant} ${item}`)
          await places.insert(tx, mine, `${item} ordered`)
          await publish(Placed, { item })
          if (fails === true) throw new Error('the order is refused')
        },
        { retry: { maxAttempts: 1 } },
      )
      app.handle(Placed, async ({ item }, { tx, tenant }) => {
        if (tenant !== mine || !item.startsWith(mine)) mixed.push(`${mine} ${tenant} ${item}`)
        await places.insert(tx, mine, `${item} placed`)
      })
    },
  })
  await using _ = tenants
  await tenants.start()
  await tenants.add('t-3')
  const items = (tenant: string): string[] =>
    Array.from({ length: COUNT }, (_each, n) => `${tenant}/${n}`)
  const place = async (tenant: string): Promise<void> => {
    for (const item of items(tenant)) {
      const app = await tenants.get(tenant)
      await app.transaction(async (tx, { send }) => {
        await places.insert(tx, tenant, `${item} asked`)
        await send(Place, { item })
        await send(Place, { item: `${item} bad`, fails: true })
      })
    }
  }
  await Promise.all(names.map(place))
  const wanted = (tenant: string): string[] =>
    items(tenant)
      .flatMap((item) => [`${item} asked`, `${item} ordered`, `${item} placed`])
      .toSorted()
  for (const tenant of names)
    await vi.waitFor(
      async () => {
        expect((await places.rows(tenant)).toSorted()).toEqual(wanted(tenant))
        const { outbox } = await places.left(tenant)
        expect(outbox).toBe(0)
      },
      { timeout: 200_000, interval: 200 },
    )
  expect(mixed).toEqual([])

  // The failed ones left nothing, and a tenant that is gone keeps its rows.
  expect(await tenants.remove('t-2')).toBe(true)
  for (const tenant of names)
    expect(await places.left(tenant)).toEqual({ outbox: 0, inbox: 2 * COUNT })
  const t1 = await tenants.get('t-1')
  await t1.transaction((_tx, { send }) => send(Place, { item: 't-1/last' }))
  await vi.waitFor(async () => expect(await places.rows('t-1')).toContain('t-1/last placed'), {
    timeout: 60_000,
  })
  expect((await places.rows('t-2')).toSorted()).toEqual(wanted('t-2'))
}

const rabbit = await rabbitIsHere()
const postgresThere = await serverAnswers()
const mariaThere = await mysqlAnswers()

describe('tenants', () => {
  test('in SQLite files keep apart, over a queue in another file', async () => {
    await using places = await files()
    const folder = mkdtempSync(join(tmpdir(), 'mersal-tenants-queue-'))
    try {
      await isolated(places, sqliteQueue({ path: join(folder, 'queue.db'), pollIntervalMs: 20 }))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test.skipIf(!postgresThere || !rabbit)(
    'in schemas of one PostgreSQL database keep apart, over RabbitMQ',
    async () => {
      await using places = await schemas()
      await using vhost = await openVhost()
      await isolated(places, rabbitmq({ url: vhost.url }))
    },
  )

  test.skipIf(!mariaThere || !rabbit)(
    'in databases of MariaDB keep apart, over RabbitMQ',
    async () => {
      await using places = await mariaDatabases()
      await using vhost = await openVhost()
      await isolated(places, rabbitmq({ url: vhost.url }))
    },
  )
})
