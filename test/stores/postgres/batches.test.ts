import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test, vi } from 'vitest'
import { type Events, type HandlerContext, Mersal, command, event } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { drain } from '../../../src/testing/index.ts'
import { serverAnswers, type TestDatabase, testDatabase } from '../../postgres/database.ts'
import { smuggle } from '../../postgres/smuggle.ts'

const Place = command<{ n: number }>('orders.place')
const Placed = event<{ n: number }>('orders.placed')
const COUNT = 20

type Work = (
  n: number,
  context: HandlerContext<PostgresClient>,
  write: () => Promise<unknown>,
) => Promise<unknown>

/**
 * Sends twenty commands to an app that handles up to ten in one transaction, and waits until all
 * has been worked off.
 */
async function handleAll(
  database: TestDatabase,
  work: Work,
  { batch = 10, concurrency = 10, handlerTimeoutMs = 30_000, failing = 0 } = {},
) {
  const { schema } = database
  const app = new Mersal({
    name: 'shop',
    store: postgres({ pool: database.pool, schema }),
    transport: memoryTransport(),
    receive: {
      concurrency,
      handlerTimeoutMs,
      immediateRetries: 0,
      maxDeliveries: 3,
      backoff: { firstMs: 10, longestMs: 10 },
    },
    logger: false,
  })
  const write = (tx: PostgresClient, n: number) =>
    tx.query(`insert into ${schema}.business values ($1)`, [`order ${n}`])
  app.handle(
    Place,
    async ({ n }, context) => void (await work(n, context, () => write(context.tx, n))),
    { batch },
  )
  const placed: number[] = []
  app.handle(Placed, ({ n }) => void placed.push(n))
  const batches: Events['mersal:batch'][] = []
  const retried: string[] = []
  const hear = (told: unknown): void => void batches.push(told as Events['mersal:batch'])
  const hearOne = (told: unknown): void => {
    const { id, outcome } = told as Events['mersal:handle']
    if (outcome !== 'handled') retried.push(id)
  }
  subscribe('mersal:batch', hear)
  subscribe('mersal:handle', hearOne)
  try {
    await app.transaction(async (_, { sendLocal }) => {
      for (let n = 1; n <= COUNT; n++) await sendLocal(Place, { n })
    })
    await app.start()
    await drain(app)
    await vi.waitFor(
      async () => expect((await orders(database)).length).toBeGreaterThanOrEqual(COUNT - failing),
      { timeout: 10_000 },
    )
  } finally {
    await app.stop()
    unsubscribe('mersal:batch', hear)
    unsubscribe('mersal:handle', hearOne)
  }
  expect(batches.some(({ messages }) => messages > 1)).toBe(true)
  return { batches, placed, notHandled: new Set(retried).size }
}

const orders = async ({ schema, query }: TestDatabase): Promise<string[]> =>
  (await query(`select text from ${schema}.business`)).map(({ text }) => text as string)
const expected = (...without: number[]): string[] =>
  Array.from({ length: COUNT }, (_, index) => index + 1)
    .filter((n) => !without.includes(n))
    .map((n) => `order ${n}`)

describe.skipIf(!(await serverAnswers()))(
  'P4 P8: several messages in one transaction of PostgreSQL',
  () => {
    test('each has its effect once, and what they send leaves once', async () => {
      await using database = await testDatabase()
      const { batches, placed } = await handleAll(database, async (n, { publish }, write) => {
        await write()
        await publish(Placed, { n })
      })
      expect(placed.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: COUNT }, (_, index) => index + 1),
      )
      expect(batches.every(({ outcome }) => outcome === 'handled')).toBe(true)
      expect((await orders(database)).toSorted()).toEqual(expected().toSorted())
    })

    test('one whose statement fails, and which hides that, spoils the transaction for nobody else', async () => {
      await using database = await testDatabase()
      const { notHandled } = await handleAll(
        database,
        async (n, { tx }, write) => {
          await write()
          if (n === 3) await tx.query('select 1 / 0').catch(() => {})
        },
        { failing: 1 },
      )
      expect(notHandled).toBe(1)
      expect((await orders(database)).toSorted()).toEqual(expected(3).toSorted())
    })

    test('one that only the commit refuses spoils it for nobody else', async () => {
      await using database = await testDatabase()
      const { schema } = database
      await database.query(`create table ${schema}.parent (n integer primary key)`)
      await database.query(
        `create table ${schema}.child (n integer references ${schema}.parent deferrable initially deferred)`,
      )
      const { notHandled } = await handleAll(
        database,
        async (n, { tx }, write) => {
          await write()
          if (n === 7) await tx.query(`insert into ${schema}.child values ($1)`, [n])
        },
        { failing: 1 },
      )
      expect(notHandled).toBe(1)
      expect((await orders(database)).toSorted()).toEqual(expected(7).toSorted())
    })

    test('two transactions that wait for each other in a circle both end well', async () => {
      await using database = await testDatabase()
      const { schema } = database
      await database.query(
        `create table ${schema}.stock (item integer primary key, taken integer not null)`,
      )
      await database.query(`insert into ${schema}.stock values (0, 0), (1, 0)`)
      // Each transaction takes both items, every second one the other way round; the first two go
      // on when each has taken one.
      const taken = new Map([1, 3].map((n) => [n, Promise.withResolvers<void>()]))
      const place = async (
        n: number,
        { tx }: HandlerContext<PostgresClient>,
        write: () => Promise<unknown>,
      ): Promise<void> => {
        await write()
        await tx.query(`update ${schema}.stock set taken = taken + 1 where item = $1`, [
          (n + Math.floor((n - 1) / 2)) % 2,
        ])
        taken.get(n)?.resolve()
        if (taken.has(n)) await Promise.all([...taken.values()].map(({ promise }) => promise))
      }
      const { batches } = await handleAll(database, place, { batch: 2, concurrency: 4 })
      expect(batches.some(({ outcome }) => outcome === 'undone')).toBe(true)
      expect((await orders(database)).toSorted()).toEqual(expected().toSorted())
      expect(
        await database.query(`select sum(taken)::integer as taken from ${schema}.stock`),
      ).toEqual([{ taken: COUNT }])
    })

    test('one that ends the transaction behind our back is a dead letter, with those before it, and the others are handled', async () => {
      await using database = await testDatabase()
      const { placed, notHandled } = await handleAll(
        database,
        async (n, { tx, publish }, write) => {
          await write()
          await publish(Placed, { n })
          if (n === 4) await smuggle(tx, 'commit')
        },
      )
      // What those before it have written is stored and what they have sent is not, which only a
      // person can put right.
      expect((await orders(database)).toSorted()).toEqual(expected().toSorted())
      expect(notHandled).toBe(4)
      expect(placed.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: COUNT - 4 }, (_, index) => index + 5),
      )
    })

    test('when the connection is cut in the middle, each still has its effect once', async () => {
      await using database = await testDatabase()
      let cut = false
      await handleAll(database, async (n, { tx }, write) => {
        await write()
        if (n !== 5 || cut) return
        cut = true
        await tx.query('select pg_terminate_backend(pg_backend_pid())')
      })
      expect(cut).toBe(true)
      expect((await orders(database)).toSorted()).toEqual(expected().toSorted())
    })
  },
)
