import { Client, Pool } from 'pg'
import { describe, expect, test, vi } from 'vitest'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { claim, labelOf, message, sent } from '../../postgres/messages.ts'
import { type StoreHarness, storeHarness } from '../../postgres/store-harness.ts'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'

const present = await serverAnswers()

/**
 * A pool whose copies, such as the one that the store makes, show what is sent, and do something
 * before a prepared statement.
 */
function watchedPool(
  schema: string,
  before: (client: Client) => Promise<unknown> = () => Promise.resolve(),
) {
  const seen: string[] = []
  class Watched extends Client {
    override query(...given: unknown[]): never {
      const [first] = given as [string | { readonly text: string; readonly name?: string }]
      const { text, name } = typeof first === 'string' ? { text: first, name: undefined } : first
      seen.push(
        `${name === undefined ? '' : 'prepared '}${text.trim().split(/\s+/).slice(0, 2).join(' ')}`,
      )
      const send = (): unknown => (super.query as (...all: unknown[]) => unknown)(...given)
      if (name === undefined) return send() as never
      seen.pop()
      return before(this).then(() => {
        seen.push(`prepared ${text.trim().split(/\s+/)[0]}`)
        return send()
      }) as never
    }
  }
  const pool = new Pool({
    connectionString: serverUrl,
    max: 4,
    application_name: schema,
    Client: Watched,
  })
  pool.on('error', () => {})
  return { pool, seen }
}

async function add(
  harness: StoreHarness,
  store: PostgresStore<PostgresClient>,
  ...names: string[]
): Promise<void> {
  await store.unitOfWork(
    async (tx) =>
      void (await store.outbox.save(
        tx,
        names.map((name) => message(name, 'key')),
      )),
  )
  await harness.database.query('select 1')
}

describe.skipIf(!present)('the connections of the store', () => {
  test('P1 P5: a claim and a settle of confirmed messages are one prepared statement each, with the settings of the relay', async () => {
    await using harness = await storeHarness()
    const { pool, seen } = watchedPool(harness.database.schema)
    await using _ended = { [Symbol.asyncDispose]: () => pool.end() }
    await using store = await harness.open({ pool })
    await add(harness, store, 'a', 'b')
    await claim(store, { limit: 1, claimMs: 1 })
    seen.length = 0
    const rows = await claim(store)
    expect(rows.map(labelOf)).toEqual(['a', 'b'])
    expect(await store.outbox.settle(rows.map(sent))).toEqual({ stale: 0 })
    expect(seen).toEqual(['prepared with', 'prepared delete'])
  })

  test('P1: under other settings a claim fails and takes nothing, and from then on they travel with the transaction', async () => {
    await using harness = await storeHarness()
    // As behind a pooler that came later: the statement meets a connection that knows nothing of
    // the settings.
    const { pool, seen } = watchedPool(harness.database.schema, (client) =>
      client.query('set synchronous_commit = off'),
    )
    await using _ended = { [Symbol.asyncDispose]: () => pool.end() }
    await using store = await harness.open({ pool })
    await add(harness, store, 'a')
    await expect(claim(store)).rejects.toMatchObject({
      code: 'MERSAL_STORE_FAILED',
      cause: { message: expect.stringContaining('synchronous_commit = off') },
    })
    seen.length = 0
    const rows = await claim(store)
    expect(rows.map(({ attempt }) => attempt)).toEqual([1])
    expect(seen).toEqual(['begin isolation', 'with e', 'commit'])
  })

  test('a vacuum has no time limit, though its connection had one', async () => {
    await using harness = await storeHarness()
    const { pool, seen } = watchedPool(harness.database.schema)
    await using _ended = { [Symbol.asyncDispose]: () => pool.end() }
    await using store = await harness.open({ pool, vacuumRows: 1 })
    await add(harness, store, 'a')
    const rows = await claim(store)
    await store.outbox.settle(rows.map(sent))
    await vi.waitFor(() => expect(seen.some((line) => line.startsWith('vacuum'))).toBe(true), {
      timeout: 20_000,
    })
    expect(seen.slice(seen.indexOf('prepared delete'))).toEqual([
      'prepared delete',
      'reset all',
      expect.any(String),
      expect.stringContaining('vacuum'),
    ])
  })

  test('nothing of theirs is prepared with prepare: false', async () => {
    await using harness = await storeHarness()
    const { pool, seen } = watchedPool(harness.database.schema)
    await using _ended = { [Symbol.asyncDispose]: () => pool.end() }
    await using store = await harness.open({ pool, prepare: false })
    await add(harness, store, 'a')
    seen.length = 0
    expect(await claim(store)).toHaveLength(1)
    expect(seen).toEqual(['begin isolation', 'with e', 'commit'])
  })

  test('P5: a claim stops before a row of its key that somebody else has locked, wherever that stands', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    for (const locked of ['a', 'b', 'c']) {
      await harness.database.query(`delete from ${harness.database.schema}.outbox`)
      await add(harness, store, 'a', 'b', 'c')
      const client = await harness.database.pool.connect()
      await client.query('begin')
      await client.query(
        `select from ${harness.database.schema}.outbox where type = $1 for update`,
        [`test.${locked}`],
      )
      const rows = await claim(store)
      await client.query('rollback')
      client.release()
      expect(rows.map(labelOf)).toEqual(['a', 'b', 'c'].slice(0, ['a', 'b', 'c'].indexOf(locked)))
    }
  })
})
