import { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { PoolConfig } from 'pg'
import { describe, expect, test } from 'vitest'
import type { SqliteDatabase } from '../../src/sql/sqlite/connection/database.ts'
import { type CommandType, isMersalError, Mersal, type Logger } from '../../src/index.ts'
import { memoryStore, memoryTransport } from '../../src/memory.ts'
import { postgres, type PostgresClient, postgresQueue } from '../../src/postgres.ts'
import { sqlite } from '../../src/sqlite.ts'
import { libraries, openHandle } from '../contract/sqlite-harness.ts'
import { serverAnswers, serverUrl, testDatabase, type TestDatabase } from '../postgres/database.ts'
import { Order, SlowOrder, ways } from '../postgres/forgotten.ts'
import { pgbouncer, pgbouncerAvailable } from '../postgres/pgbouncer.ts'

const present = await serverAnswers()
const pooler = present && pgbouncerAvailable()

type App = Mersal<PostgresClient>

/** `straight`: the messages go into a queue of the same schema, with no outbox in between. */
async function shop(
  database: TestDatabase,
  options: PoolConfig,
  straight: boolean,
): Promise<{ app: App; stored: () => Promise<number> }> {
  const { schema } = database
  const pool = database.newPool({ ...options, max: 2 })
  const transport = straight ? postgresQueue({ pool, schema }) : memoryTransport()
  const own = {
    name: 'shop',
    routes: { 'orders.place': 'office' },
    outbox: { runRelay: false },
    sendOnly: true,
    logger: false,
  } as const
  const app = new Mersal<PostgresClient>({
    ...own,
    store: postgres({ pool, relayPool: database.pool, schema }),
    transport,
  })
  await app.start()
  // Nobody takes from it.
  if (straight) await database.query(`insert into ${schema}.queue (name) values ('office')`)
  const table = straight ? 'queue_message' : 'outbox'
  const stored = async (): Promise<number> =>
    Number(
      (await database.query(`select count(*)::text as stored from ${schema}.${table}`))[0]?.[
        'stored'
      ],
    )
  return { app, stored }
}

interface Forgetting {
  readonly type: CommandType<{ n: number }>
  readonly keyed: boolean
  readonly many: number
}

/**
 * Twenty transactions that are rolled back without waiting for what was sent, each followed by one
 * of somebody else on the same connection.
 */
async function forget(
  app: App,
  database: TestDatabase,
  options: PoolConfig,
  { type, keyed, many }: Forgetting,
): Promise<Promise<string>[]> {
  const pool = database.newPool({ ...options, max: 1 })
  const calls: Promise<string>[] = []
  for (let n = 0; n < 20; n++) {
    const client = await pool.connect()
    await client.query('begin')
    if (n % 2 === 0)
      await client.query(`insert into ${database.schema}.business values ('dropped')`)
    for (let index = 0; index < many; index++)
      calls.push(app.within(client).send(type, { n }, keyed ? { partitionKey: 'a' } : {}))
    await client.query('rollback')
    client.release()
    const next = await pool.connect()
    await next.query('begin')
    await next.query(`insert into ${database.schema}.business values ('kept')`)
    await setImmediate()
    await next.query(`insert into ${database.schema}.business values ('kept')`)
    await next.query('commit')
    next.release()
  }
  return calls
}

const roads = [
  { name: 'a client of pg', options: {}, straight: false, given: present },
  {
    name: 'a client of pg that pipelines',
    options: { pipeline: true },
    straight: false,
    given: present,
  },
  { name: 'the queue in the same schema', options: {}, straight: true, given: present },
  { name: 'a client behind a pooler', options: {}, straight: false, given: pooler },
]

for (const road of roads) {
  describe.skipIf(!road.given)(`a call of within() that nobody awaits: ${road.name}`, () => {
    for (const way of ways) {
      test(`${way.name}: nothing is left of 20 transactions that were rolled back`, async () => {
        await using stack = new AsyncDisposableStack()
        const database = stack.use(await testDatabase())
        const options: PoolConfig = { ...road.options }
        if (road.name.endsWith('pooler'))
          options.connectionString = stack.use(await pgbouncer(serverUrl)).url
        const { app, stored } = await shop(database, options, road.straight)
        stack.defer(() => app.stop())
        for (const { status, reason } of (await Promise.allSettled(
          await forget(app, database, options, way),
        )) as PromiseRejectedResult[]) {
          if (status === 'rejected')
            expect(isMersalError(reason, 'MERSAL_NOT_A_TRANSACTION'), String(reason)).toBe(true)
        }
        expect(await stored()).toBe(0)
      })
    }

    test('whoever gets the connection next is served while a forgotten call still waits', async () => {
      await using stack = new AsyncDisposableStack()
      const database = stack.use(await testDatabase())
      const options: PoolConfig = { ...road.options, max: 1 }
      if (road.name.endsWith('pooler'))
        options.connectionString = stack.use(await pgbouncer(serverUrl)).url
      const { app, stored } = await shop(database, options, road.straight)
      stack.defer(() => app.stop())
      const pool = database.newPool(options)
      for (let n = 0; n < 10; n++) {
        const client = await pool.connect()
        await client.query('begin')
        const forgotten = app.within(client).send(SlowOrder, { n })
        await client.query('rollback')
        client.release()
        const next = await pool.connect()
        await next.query('begin')
        await app.within(next).send(Order, { n })
        await next.query('commit')
        next.release()
        await expect(forgotten).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
      }
      expect(await stored()).toBe(10)
    })

    test('what is awaited is stored, also as the first statement of its transaction', async () => {
      await using stack = new AsyncDisposableStack()
      const database = stack.use(await testDatabase())
      const options: PoolConfig = { ...road.options }
      if (road.name.endsWith('pooler'))
        options.connectionString = stack.use(await pgbouncer(serverUrl)).url
      const { app, stored } = await shop(database, options, road.straight)
      stack.defer(() => app.stop())
      const pool = database.newPool({ ...options, max: 1 })
      for (const type of [Order, SlowOrder]) {
        const client = await pool.connect()
        await client.query('begin')
        await app.within(client).send(type, { n: 1 })
        await app.within(client).send(type, { n: 2 }, { partitionKey: 'a' })
        await client.query('commit')
        client.release()
      }
      expect(await stored()).toBe(4)
    })
  })
}

for (const name of libraries) {
  describe(`a call of within() that nobody awaits: ${name}`, () => {
    const world = async (): Promise<
      AsyncDisposable & {
        app: Mersal<SqliteDatabase>
        database: SqliteDatabase
        stored: () => number
      }
    > => {
      const database = openHandle(name, ':memory:')
      const app = new Mersal<SqliteDatabase>({
        name: 'shop',
        store: sqlite({ database }),
        transport: memoryTransport(),
        routes: { 'orders.place': 'shop' },
        outbox: { runRelay: false },
        sendOnly: true,
        logger: false,
      })
      await app.start()
      const stored = (): number =>
        (database.prepare('select 1 from mersal_outbox') as { all(): unknown[] }).all().length
      return { app, database, stored, [Symbol.asyncDispose]: () => app.stop() }
    }

    for (const way of ways) {
      test(`${way.name}: nothing is left of 20 transactions that were rolled back`, async () => {
        await using here = await world()
        const { app, database, stored } = here
        const calls: Promise<string>[] = []
        for (let n = 0; n < 20; n++) {
          database.exec('begin')
          for (let index = 0; index < way.many; index++) {
            calls.push(
              app.within(database).send(way.type, { n }, way.keyed ? { partitionKey: 'a' } : {}),
            )
          }
          database.exec('rollback')
          database.exec('begin')
          await setImmediate()
          database.exec('commit')
        }
        await Promise.allSettled(calls)
        expect(stored()).toBe(0)
      })
    }

    test('a handle in autocommit mode is no transaction', async () => {
      await using here = await world()
      const { app, database, stored } = here
      for (const type of [Order, SlowOrder]) {
        await expect(app.within(database).send(type, { n: 1 })).rejects.toMatchObject({
          code: 'MERSAL_NOT_A_TRANSACTION',
        })
      }
      expect(stored()).toBe(0)
    })

    test('calls that are awaited together are all stored, in their order', async () => {
      await using here = await world()
      const { app, database } = here
      database.exec('begin')
      const { send } = app.within(database)
      const calls = [SlowOrder, Order, Order, SlowOrder, Order].map((type, n) => send(type, { n }))
      const ids = await Promise.all(calls)
      database.exec('commit')
      const rows = (
        database.prepare('select id from mersal_outbox order by position') as { all(): unknown[] }
      ).all() as { id: string }[]
      expect(rows.map(({ id }) => id)).toEqual(ids)
    })
  })
}

describe('a call of within() that nobody awaits', () => {
  test('in the memory store: nothing is left of 20 transactions that were rolled back', async () => {
    const store = memoryStore()
    const app = new Mersal({
      name: 'shop',
      store,
      transport: memoryTransport(),
      sendOnly: true,
      logger: false,
      outbox: { runRelay: false },
    })
    await using _ = app
    const calls: Promise<string>[] = []
    for (const type of [Order, SlowOrder]) {
      for (let n = 0; n < 10; n++) {
        const unit = store.unitOfWork(async (tx) => {
          calls.push(app.within(tx).sendLocal(type, { n }))
          throw new Error('on purpose')
        })
        await expect(unit).rejects.toThrow('on purpose')
      }
    }
    const settled = await Promise.allSettled(calls)
    expect(new Set(settled.map(({ status }) => status))).toEqual(new Set(['rejected']))
    expect(await store.admin.stats()).toMatchObject({ pending: 0 })
  })

  test('and that fails is logged as an error; the process lives on', async () => {
    const errors: { fields: object; text: string }[] = []
    const nothing = (): void => {}
    const logger: Logger = {
      debug: nothing,
      info: nothing,
      warn: nothing,
      error: (fields, text) => void errors.push({ fields, text }),
    }
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', onUnhandled)
    const database = new DatabaseSync(':memory:')
    const app = new Mersal<SqliteDatabase>({
      name: 'shop',
      store: sqlite({ database }),
      transport: memoryTransport(),
      logger,
      outbox: { runRelay: false },
    })
    await app.start()
    try {
      database.exec('begin')
      void app.within(database).sendLocal(SlowOrder, { n: 1 })
      database.exec('rollback')
      await expect.poll(() => errors.length).toBe(1)
      await setImmediate()
      expect(errors[0]?.fields).toMatchObject({
        app: 'shop',
        call: `sendLocal('orders.place')`,
        code: 'MERSAL_NOT_AWAITED',
      })
      expect(errors[0]?.text).toContain('nobody awaited it')
      expect(unhandled).toEqual([])
      // Whoever looks gets the error, and nothing is logged.
      await expect(app.within(database).sendLocal(Order, { n: 1 })).rejects.toMatchObject({
        code: 'MERSAL_NOT_A_TRANSACTION',
      })
      expect(errors.length).toBe(1)
    } finally {
      process.off('unhandledRejection', onUnhandled)
      await app.stop()
    }
  })
})
