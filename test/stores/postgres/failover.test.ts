import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { Mersal, event } from '../../../src/index.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { openProxy } from '../../chaos/proxy.ts'
import { clusterAvailable, privateCluster, type PrivateCluster } from '../../postgres/cluster.ts'
import { testDatabase, type TestDatabase } from '../../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { inversions } from '../../rabbitmq/outage/inversions.ts'
import { openTap, type Tap } from '../../rabbitmq/outage/tap.ts'

interface Order {
  readonly key: string
  readonly n: number
}

const Placed = event<Order>('orders.placed')
const KEYS = ['a', 'b', 'c', 'd']
const name = ({ key, n }: Order): string => `${key} ${n}`
/**
 * What a unit may fail with then: no connection, an answer that was lost, a statement that was cut
 * off, a server that starts or ends.
 */
const CODES = [
  'MERSAL_STORE_BUSY',
  'MERSAL_COMMIT_UNKNOWN',
  'MERSAL_STORE_FAILED',
  'ECONNRESET',
  '57P01',
  '57P02',
  '57P03',
]
/** The last in the words of pg, for a statement of the unit itself. */
const OF_A_FAILOVER = [...CODES, 'Error: Connection terminated unexpectedly']
const present = clusterAvailable() && (await rabbitIsHere())

/** Asks the server itself, past the proxy. */
async function ask(
  url: string,
  ...statements: readonly string[]
): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    let rows: Record<string, unknown>[] = []
    for (const statement of statements)
      rows = (await client.query<Record<string, unknown>>(statement)).rows
    return rows
  } finally {
    await client.end()
  }
}

/** Commits of this server are answered only when the standby has them on its disk. */
async function makeSynchronous(primary: PrivateCluster): Promise<void> {
  await ask(
    primary.url,
    `alter system set synchronous_standby_names = '*'`,
    'select pg_reload_conf()',
  )
  const state = (): Promise<unknown> =>
    ask(primary.url, 'select sync_state from pg_stat_replication').then(
      ([row]) => row?.['sync_state'],
    )
  await expect.poll(state, { timeout: 20_000 }).toBe('sync')
}

/** One writer for each key, which places one order after the other and notes what it was told. */
function writers(app: Mersal<PostgresClient>, schema: string, signal: AbortSignal) {
  const committed: Order[] = []
  const failures: string[] = []
  const place = async (order: Order): Promise<void> => {
    try {
      await app.transaction(async (tx, { publish }) => {
        await tx.query(`insert into ${schema}.orders values ($1, $2)`, [order.key, order.n])
        await publish(Placed, order, { partitionKey: order.key })
      })
      committed.push(order)
    } catch (error) {
      failures.push((error as { code?: string }).code ?? String(error))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const work = async (key: string): Promise<void> => {
    for (let n = 0; !signal.aborted; n++) await place({ key, n })
  }
  return { committed, failures, done: Promise.all(KEYS.map(work)) }
}

function openApp(
  role: string,
  database: TestDatabase,
  url: string,
  sendOnly: boolean,
): Mersal<PostgresClient> {
  const { schema } = database
  const store = postgres({
    pool: database.newPool({ connectionTimeoutMillis: 2000 }),
    schema,
    heartbeatMs: 500,
  })
  const app = new Mersal({
    name: role,
    store,
    transport: rabbitmq({ url, logger: false, newQueuePauseMs: 0 }),
    sendOnly,
    logger: false,
  })
  if (!sendOnly) {
    app.handle(
      Placed,
      async (order, { tx }) =>
        void (await tx.query(`insert into ${schema}.effects values ($1, $2)`, [
          order.key,
          order.n,
        ])),
    )
  }
  return app
}

/** What the database holds at last, and what came out at the broker. */
async function remains(database: TestDatabase, tap: Tap) {
  const names = async (table: string): Promise<string[]> =>
    (
      (await database.query(`select key, n from ${database.schema}.${table}`)) as unknown as Order[]
    ).map(name)
  const orders = await names('orders')
  const effects = await names('effects')
  const arrived = (await tap.drain()).map(({ content }) => JSON.parse(content.toString()) as Order)
  return { orders, effects, arrived }
}

function without(all: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others)
  return [...new Set(all)].filter((each) => !known.has(each))
}

describe.skipIf(!present)('P1 P2 P4 P5 P6: failover to a synchronous standby', () => {
  test('the primary is lost while it commits, relays and handles; the standby has every commit, and nothing else was published', {
    timeout: 240_000,
  }, async () => {
    await using primary = await privateCluster()
    await using standby = await privateCluster({}, { standbyOf: primary.url })
    await makeSynchronous(primary)
    await using proxy = await openProxy(primary.port)
    await using place = await openVhost()
    await using database = await testDatabase(
      `postgres://postgres@127.0.0.1:${proxy.port}/postgres`,
    )
    const { schema } = database
    await database.query(
      `create table ${schema}.orders (key text, n int); create table ${schema}.effects (key text, n int)`,
    )
    const tap = openTap(place.url, 'tap', 'mersal.events')
    await tap.bind([Placed.name])
    await using shop = openApp('shop', database, place.url, true)
    await using finance = openApp('finance', database, place.url, false)
    await finance.start()
    await shop.start()

    const stop = new AbortController()
    const writing = writers(shop, schema, stop.signal)
    const commits = (): number => writing.committed.length
    await expect.poll(commits, { timeout: 30_000 }).toBeGreaterThan(300)
    await primary.kill()
    const before = commits()
    await ask(standby.url, 'select pg_promote(true, 60)')
    proxy.leadTo(standby.port)
    await expect.poll(commits, { timeout: 60_000 }).toBeGreaterThan(before + 300)
    stop.abort()
    await writing.done

    const pending = async (): Promise<unknown> => {
      const sql = `select (select count(*) from ${schema}.outbox) + (select count(*) from ${schema}.orders o
        where not exists (select from ${schema}.effects e where e.key = o.key and e.n = o.n)) as open`
      return Number((await database.query(sql))[0]?.['open'])
    }
    await expect.poll(pending, { timeout: 60_000, interval: 200 }).toBe(0)
    const { orders, effects, arrived } = await remains(database, tap)
    const published = arrived.map(name)
    expect({
      // The other server, not the first one come back.
      timeline: (
        await ask(standby.url, 'select left(pg_walfile_name(pg_current_wal_lsn()), 8) as timeline')
      )[0]?.['timeline'],
      failed: writing.failures.length > 0,
      strange: without(writing.failures, OF_A_FAILOVER),
      commitsLost: without(writing.committed.map(name), orders),
      lost: without(orders, published),
      phantom: without(published, orders),
      effectsLost: without(orders, effects),
      effectsOfNothing: without(effects, orders),
      effectsTwice: effects.length - new Set(effects).size,
      inversions: inversions(arrived),
    }).toEqual({
      timeline: '00000002',
      failed: true,
      strange: [],
      commitsLost: [],
      lost: [],
      phantom: [],
      effectsLost: [],
      effectsOfNothing: [],
      effectsTwice: 0,
      inversions: 0,
    })
  })
})
