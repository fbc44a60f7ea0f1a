import type { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { isMersalError, Mersal, event } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import type { PostgresClient } from '../../src/postgres.ts'
import { cuttingProxy } from '../postgres/cutting-proxy.ts'
import { serverAnswers, serverUrl } from '../postgres/database.ts'
import { labels, message } from '../postgres/messages.ts'
import { type StoreHarness, storeHarness } from '../postgres/store-harness.ts'

const present = await serverAnswers()
const Placed = event<{ readonly order: number }>('orders.placed')

async function openApp(harness: StoreHarness, url = serverUrl) {
  const pool = harness.database.newPool({ connectionString: url, pipeline: true })
  const store = await harness.open({ pool, relayPool: harness.database.newPool() })
  const app = new Mersal<PostgresClient>({ name: 'shop', store, transport: memoryTransport() })
  return { app, store, pool }
}

const business = (harness: StoreHarness): Promise<Record<string, unknown>[]> =>
  harness.database.query(`select text from ${harness.database.schema}.business`)

describe.skipIf(!present)('a unit over a pool with pipeline: true', () => {
  test('sends its messages and the commit in one flight, before either is answered', async () => {
    await using harness = await storeHarness()
    const { app, store, pool } = await openApp(harness)
    await using _app = app
    const seen: string[] = []
    pool.on('connect', (client) => spy(client as Client, seen))
    await app.transaction(async (tx, { publish }) => {
      await harness.write(tx, 'order 1')
      await publish(Placed, { order: 1 }, { partitionKey: '1' })
    })
    const insert = seen.findIndex((line) => line.startsWith('sent insert into') && line.includes('.outbox'))
    expect(seen.slice(insert).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'sent insert',
      'sent commit',
      'answered insert',
      'answered commit',
    ])
    expect(await labels(store)).toHaveLength(1)
    expect(await business(harness)).toEqual([{ text: 'order 1' }])
  })

  test('P1: has committed nothing when its messages could not be written, and throws why', async () => {
    await using harness = await storeHarness()
    const { app, store } = await openApp(harness)
    await using _app = app
    const { schema } = harness.database
    await app.transaction((tx) => tx.query('select 1'))
    await harness.database.query(`alter table ${schema}.outbox add constraint nothing_goes check (type <> 'orders.placed')`)
    const failed = app.transaction(async (tx, { publish }) => {
      await harness.write(tx, 'order 1')
      await publish(Placed, { order: 1 })
    })
    await expect(failed).rejects.toMatchObject({ code: '23514' })
    expect(await business(harness)).toEqual([])
    await harness.database.query(`alter table ${schema}.outbox drop constraint nothing_goes`)
    await app.transaction((tx, { publish }) => harness.write(tx, 'order 2').then(() => publish(Placed, { order: 2 })))
    expect(await labels(store)).toHaveLength(1)
  })

  test('sends no commit when its messages could not even be sent', async () => {
    await using harness = await storeHarness()
    const { store } = await openApp(harness)
    const unit = store.unitOfWork(async (tx) => {
      await harness.write(tx, 'order 1')
      return store.outbox.saveLast?.(tx, [{ ...message('one'), headers: { tenant: 'a lone \ud800' } }])
    })
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_INVALID_MESSAGE' })
    expect(await business(harness)).toEqual([])
  })

  test('passes on what the server says against the commit itself', async () => {
    await using harness = await storeHarness()
    const { app, store } = await openApp(harness)
    await using _app = app
    await app.transaction((tx) => tx.query('select 1'))
    await harness.database.query(`alter table ${harness.database.schema}.business add unique (text) deferrable initially deferred`)
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
    const { app } = await openApp(harness, url.href)
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

  test('is rolled back, and its connection closed, when its time is up while its messages are on their way', async () => {
    await using harness = await storeHarness()
    const { store } = await openApp(harness)
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
})

/** Notes when a statement is sent, and when its answer has come. */
function spy(client: Client, seen: string[]): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown
  const spied = (...given: unknown[]): unknown => {
    const [first] = given
    const text = (typeof first === 'string' ? first : (first as { text: string }).text).trim().replaceAll(/\s+/g, ' ')
    seen.push(`sent ${text}`)
    const answer = query(...given)
    if (answer instanceof Promise) {
      void answer.then(
        () => seen.push(`answered ${text}`),
        () => seen.push(`refused ${text}`),
      )
    }
    return answer
  }
  Object.assign(client, { query: spied })
}
