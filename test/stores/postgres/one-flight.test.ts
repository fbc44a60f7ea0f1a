import { describe, expect, test } from 'vitest'
import { isMersalError, Mersal, event } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import type { PostgresClient } from '../../../src/postgres.ts'
import { cuttingProxy } from '../../postgres/cutting-proxy.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { flightsOf } from '../../postgres/flights.ts'
import { labels, message } from '../../postgres/messages.ts'
import { type StoreHarness, storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()
const Placed = event<{ readonly order: number }>('orders.placed')

async function openApp(harness: StoreHarness, { url = serverUrl, pipeline = false } = {}) {
  const pool = harness.database.newPool({ connectionString: url, pipeline })
  const relayPool = harness.database.newPool()
  const store = await harness.open({ pool, relayPool, prepare: true })
  const app = new Mersal<PostgresClient>({ name: 'shop', store, transport: memoryTransport() })
  return { app, store, pool }
}

const business = (harness: StoreHarness): Promise<Record<string, unknown>[]> =>
  harness.database.query(`select text from ${harness.database.schema}.business`)

describe.skipIf(!present).each([false, true])(
  'a unit over a pool with pipeline: %s',
  (pipeline) => {
    test('takes two flights: BEGIN with its first statement, its messages with COMMIT', async () => {
      await using harness = await storeHarness()
      const { app, store, pool } = await openApp(harness, { pipeline })
      await using _app = app
      const seen = flightsOf(pool)
      await app.transaction(async (tx, { publish }) => {
        await harness.write(tx, 'order 1')
        await publish(Placed, { order: 1 }, { partitionKey: '1' })
      })
      expect(seen.splice(0, 3)).toEqual(['begin', 'insert business', 'sync'])
      expect(seen).toEqual(['lock', 'insert outbox', 'commit', 'notify', 'sync'])
      expect(await labels(store)).toHaveLength(1)
      expect(await business(harness)).toEqual([{ text: 'order 1' }])
    })

    test('takes one flight when it has only messages, and none when it sends nothing', async () => {
      await using harness = await storeHarness()
      const { app, store, pool } = await openApp(harness, { pipeline })
      await using _app = app
      const seen = flightsOf(pool)
      await app.transaction((_, { publish }) => publish(Placed, { order: 1 }))
      expect(seen.splice(0)).toEqual(['begin', 'insert outbox', 'commit', 'notify', 'sync'])
      expect(await labels(store)).toHaveLength(1)
      await app.transaction(() => Promise.resolve())
      expect(seen).toEqual([])
    })

    test('takes one flight when its only statement is not awaited: that travels with the commit', async () => {
      await using harness = await storeHarness()
      const { app, store, pool } = await openApp(harness, { pipeline })
      await using _app = app
      const seen = flightsOf(pool)
      const insert = `insert into ${harness.database.schema}.business values ($1) returning text`
      let inserting: Promise<unknown> | undefined
      await app.transaction(async (tx, { publish }) => {
        inserting = tx.query(insert, ['order 1']).then(({ rows }) => rows)
        await publish(Placed, { order: 1 }, { partitionKey: '1' })
      })
      const mine = ['begin', 'insert business', 'lock', 'insert outbox']
      const all = [...mine, 'commit', 'notify', 'sync']
      expect(seen.splice(0)).toEqual(all)
      expect(await inserting).toEqual([{ text: 'order 1' }])
      expect(await labels(store)).toHaveLength(1)
      await app.transaction((tx) => Promise.resolve(void tx.query(insert, ['order 2'])))
      expect(seen).toEqual(['begin', 'insert business', 'commit', 'sync'])
      expect(await business(harness)).toEqual([{ text: 'order 1' }, { text: 'order 2' }])
    })

    test('is prepared anew after the server was told to forget what was prepared', async () => {
      await using harness = await storeHarness()
      const { app, store, pool } = await openApp(harness, { pipeline })
      await using _app = app
      for (const forget of ['discard all', 'deallocate all', 'select 1']) {
        await app.transaction(async (tx, { publish }) => {
          await harness.write(tx, forget)
          await publish(Placed, { order: 1 })
        })
        await pool.query(forget)
      }
      expect(pool.totalCount).toBe(1)
      expect(await labels(store)).toHaveLength(3)
    })

    const refused: Record<string, readonly [values: readonly unknown[], error: object]> = {
      'by the server': [['0'], { code: '22012' }],
      'by the client, which cannot write its parameters': [
        [
          {
            toPostgres: () => {
              throw new Error('no parameter')
            },
          },
        ],
        { message: 'no parameter' },
      ],
      'by the client, which sends nothing': ['no array' as never, { message: /array/ }],
    }
    for (const [by, [values, error]] of Object.entries(refused)) {
      test(`P1: throws the error of a statement that travels with the commit and is refused ${by}, and commits nothing`, async () => {
        await using harness = await storeHarness()
        const { app, store, pool } = await openApp(harness, { pipeline })
        await using _app = app
        let own: Promise<unknown> | undefined
        const failed = app.transaction(async (tx, { publish }) => {
          own = tx.query('select 1 / $1::int', values as unknown[])
          await publish(Placed, { order: 1 })
        })
        await expect(failed).rejects.toMatchObject(
          'message' in error
            ? { message: expect.stringMatching(error.message as string) as string }
            : error,
        )
        await expect(own).rejects.toThrow()
        expect(await labels(store)).toEqual([])
        // The connection serves on.
        await app.transaction(async (tx, { publish }) => {
          await harness.write(tx, 'order 2')
          await publish(Placed, { order: 2 })
        })
        expect(await labels(store)).toHaveLength(1)
        expect(pool.totalCount).toBe(1)
      })
    }

    test('P1: a statement that travels with the commit fails with it when the messages are refused', async () => {
      await using harness = await storeHarness()
      const { app } = await openApp(harness, { pipeline })
      await using _app = app
      const { schema } = harness.database
      await app.transaction((tx) => tx.query('select 1'))
      await harness.database.query(
        `alter table ${schema}.outbox add constraint nothing_goes check (type <> 'orders.placed')`,
      )
      let own: Promise<unknown> | undefined
      const failed = app.transaction(async (tx, { publish }) => {
        own = tx.query(`insert into ${schema}.business values ($1)`, ['order 1'])
        await publish(Placed, { order: 1 })
      })
      await expect(failed).rejects.toMatchObject({ code: '23514' })
      await expect(own).rejects.toMatchObject({ code: '23514' })
      expect(await business(harness)).toEqual([])
    })

    test('rolls back, and rejects, a statement that is not awaited when the work fails', async () => {
      await using harness = await storeHarness()
      const { app, pool } = await openApp(harness, { pipeline })
      await using _app = app
      const seen = flightsOf(pool)
      let own: Promise<unknown> | undefined
      const failed = app.transaction((tx) => {
        own = tx.query(`insert into ${harness.database.schema}.business values ($1)`, ['order 1'])
        return Promise.reject(new Error('the work fails'))
      })
      await expect(failed).rejects.toThrow('the work fails')
      await expect(own).rejects.toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
      expect(seen).toEqual([])
    })

    test('P1: has committed nothing when its messages could not be written, and throws why', async () => {
      await using harness = await storeHarness()
      const { app, store } = await openApp(harness, { pipeline })
      await using _app = app
      const { schema } = harness.database
      await app.transaction((tx) => tx.query('select 1'))
      await harness.database.query(
        `alter table ${schema}.outbox add constraint nothing_goes check (type <> 'orders.placed')`,
      )
      const failed = app.transaction(async (tx, { publish }) => {
        await harness.write(tx, 'order 1')
        await publish(Placed, { order: 1 })
      })
      await expect(failed).rejects.toMatchObject({ code: '23514' })
      expect(await business(harness)).toEqual([])
      await harness.database.query(`alter table ${schema}.outbox drop constraint nothing_goes`)
      await app.transaction((tx, { publish }) =>
        harness.write(tx, 'order 2').then(() => publish(Placed, { order: 2 })),
      )
      expect(await labels(store)).toHaveLength(1)
    })

    test('sends no commit when its messages could not even be sent', async () => {
      await using harness = await storeHarness()
      const { store } = await openApp(harness, { pipeline })
      const unit = store.unitOfWork(async (tx) => {
        await harness.write(tx, 'order 1')
        return store.outbox.saveLast?.(tx, [
          { ...message('one'), headers: { tenant: 'a lone \ud800' } },
        ])
      })
      await expect(unit).rejects.toMatchObject({ code: 'MERSAL_INVALID_MESSAGE' })
      expect(await business(harness)).toEqual([])
    })

    test('passes on what the server says against the commit itself', async () => {
      await using harness = await storeHarness()
      const { app, store } = await openApp(harness, { pipeline })
      await using _app = app
      await app.transaction((tx) => tx.query('select 1'))
      await harness.database.query(
        `alter table ${harness.database.schema}.business add unique (text) deferrable initially deferred`,
      )
      const failed = app.transaction(async (tx, { publish }) => {
        await harness.write(tx, 'twice')
        await harness.write(tx, 'twice')
        await publish(Placed, { order: 1 })
      })
      await expect(failed).rejects.toMatchObject({ code: '23505' })
      expect(await labels(store)).toEqual([])
    })

    test('P13: throws MERSAL_COMMIT_UNKNOWN when the answers are lost, and then both or neither are there', async () => {
      await using harness = await storeHarness()
      const url = new URL(serverUrl)
      await using proxy = await cuttingProxy(url.hostname, Number(url.port))
      url.port = String(proxy.port)
      const { app } = await openApp(harness, { url: url.href, pipeline })
      await using _app = app
      const error: unknown = await app
        .transaction(async (tx, { publish }) => {
          await harness.write(tx, 'order 1')
          await publish(Placed, { order: 1 })
          proxy.cutAfter('commit')
        })
        .catch((thrown: unknown) => thrown)
      if (!isMersalError(error, 'MERSAL_COMMIT_UNKNOWN')) throw error
      const { schema } = harness.database
      const [both] = await harness.database.query(
        `select (select count(*) from ${schema}.business) = (select count(*) from ${schema}.outbox) as agree`,
      )
      expect(both).toEqual({ agree: true })
    })

    test('is rolled back, and its connection closed, when its time is up before its messages are sent', async () => {
      await using harness = await storeHarness()
      const { store } = await openApp(harness, { pipeline })
      const stop = new AbortController()
      const unit = store.unitOfWork(
        (tx) => {
          store.outbox.saveLast?.(tx, [message('gone')])
          stop.abort(new Error('time is up'))
          return Promise.reject(new Error('time is up'))
        },
        { signal: stop.signal },
      )
      await expect(unit).rejects.toThrow('time is up')
      expect(await labels(store)).toEqual([])
    })
  },
)
