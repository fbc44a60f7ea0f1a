import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'
import { statements } from '../../../src/stores/postgres/statements/statements.ts'
import { clusterAvailable, privateCluster, type PrivateCluster } from '../../postgres/cluster.ts'
import { held } from '../../postgres/held.ts'
import { claim, sent } from '../../postgres/messages.ts'
import { testDatabase } from '../../postgres/database.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'
import { collecting } from '../../postgres/queue-harness.ts'

async function fill({ database: { schema, query } }: StoreHarness, count: number): Promise<void> {
  await query(`insert into ${schema}.outbox (id, type, transport, kind, name, headers, body)
    select gen_random_uuid(), 'test.many', 'default', 'topic', 'test.many', '{}', convert_to(repeat('x', 300), 'UTF8') from generate_series(1, ${count})`)
}

async function drain(store: PostgresStore<PostgresClient>): Promise<void> {
  for (;;) {
    const rows = await claim(store, { limit: 1000 })
    if (rows.length === 0) return
    await store.outbox.settle(rows.map(sent))
  }
}

async function bytes({ database: { schema, query } }: StoreHarness): Promise<number> {
  const [row] = await query(`select pg_relation_size('${schema}.outbox')::int as bytes`)
  return row?.['bytes'] as number
}

async function vacuums({ database: { schema, query } }: StoreHarness): Promise<number> {
  const [row] = await query(
    `select pg_stat_get_vacuum_count('${schema}.outbox'::regclass)::int as count, pg_stat_force_next_flush()`,
  )
  return row?.['count'] as number
}

describe.runIf(clusterAvailable())('the outbox on PostgreSQL', () => {
  /**
   * Of its own: snapshots of other tests would keep rows from being removed, and the server shall
   * not vacuum by itself.
   */
  let cluster: PrivateCluster | undefined
  beforeAll(async () => {
    cluster = await privateCluster({ autovacuum: 'off' })
  })
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  test('P9: gives its pages back after a backlog was drained, without autovacuum', {
    timeout: 240_000,
  }, async () => {
    await using harness = await storeHarness(testDatabase(cluster?.url))
    await using store = await harness.open({ vacuumRows: 1000 })
    await fill(harness, 20_000)
    expect(await bytes(harness)).toBeGreaterThan(8_000_000)
    await drain(store)
    // A relay looks again and again; the test's time is the limit.
    while ((await bytes(harness)) > 0) {
      expect(await claim(store)).toEqual([])
      await sleep(50)
    }
  })

  // A backup, or a report: while its snapshot lasts, a vacuum removes nothing.
  test('P9: gives its pages back when whoever kept them from it has ended, without new messages', {
    timeout: 240_000,
  }, async () => {
    await using harness = await storeHarness(testDatabase(cluster?.url))
    await using store = await harness.open({ vacuumRows: 1000 })
    await fill(harness, 20_000)
    const client = await harness.database.pool.connect()
    await client.query('begin isolation level repeatable read; select pg_current_snapshot()')
    await using snapshot = held(client)
    const before = await vacuums(harness)
    await drain(store)
    while ((await vacuums(harness)) < before + 3) {
      expect(await claim(store)).toEqual([])
      await sleep(20)
    }
    expect(await bytes(harness)).toBeGreaterThan(8_000_000)
    await snapshot.end()
    while ((await bytes(harness)) > 0) {
      expect(await claim(store)).toEqual([])
      await sleep(50)
    }
  })

  test('P9: does not grow with what has come and gone', { timeout: 240_000 }, async () => {
    await using harness = await storeHarness(testDatabase(cluster?.url))
    await using store = await harness.open({ vacuumRows: 1000 })
    const sizes: number[] = []
    for (let round = 1; round <= 5; round++) {
      await fill(harness, 2000)
      sizes.push(await bytes(harness))
      const before = await vacuums(harness)
      await drain(store)
      while ((await vacuums(harness)) === before) {
        expect(await claim(store)).toEqual([])
        await sleep(20)
      }
    }
    expect(Math.max(...sizes)).toBeLessThan(3 * (sizes[0] ?? 0))
  })

  test('P9: however many rows wait for a key in hand, a look at a stretch of them reads no more pages', {
    timeout: 240_000,
  }, async () => {
    await using harness = await storeHarness(testDatabase(cluster?.url))
    await using store = await harness.open()
    const { pool, schema, query } = harness.database
    const pages = async (reach: number | null): Promise<number> => {
      const client = await pool.connect()
      try {
        await client.query('begin; set local enable_seqscan = off')
        const values = [500, 15_000, randomUUID(), 0, 1_000_000, reach, 1_000_000]
        const { rows } = await client.query(
          `explain (analyze, buffers, format json) ${statements(schema).claim}`,
          values,
        )
        const [{ Plan: plan }] = rows[0]['QUERY PLAN']
        return plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
      } finally {
        await client.query('rollback')
        client.release()
      }
    }
    await fill(harness, 1)
    await query(`update ${schema}.outbox set key = 'k'`)
    expect(await claim(store)).toHaveLength(1)
    const read: { stretch: number; everything: number }[] = []
    for (const count of [1000, 9000]) {
      await fill(harness, count)
      await query(`update ${schema}.outbox set key = 'k' where key is null`)
      await query(`vacuum analyze ${schema}.outbox`)
      read.push({ stretch: await pages(200), everything: await pages(null) })
    }
    const [few, many] = read as [(typeof read)[0], (typeof read)[0]]
    expect(many.everything).toBeGreaterThan(5 * few.everything)
    expect(many.stretch).toBeLessThan(1.5 * few.stretch)
  })

  test.each([
    ['are not due', `visible_at = now() + interval '1 hour'`],
    [
      'wait behind one dead letter',
      `key = 'k', visible_at = case when position = 1 then 'infinity'::timestamptz else visible_at end`,
    ],
    [
      'wait behind many dead letters',
      `key = 'k' || position / 10, visible_at = case when position % 10 = 0 then 'infinity'::timestamptz else visible_at end`,
    ],
    ['go to a paused destination', `name = 'paused'`],
  ])(
    'P9: however many rows %s, a stretch of a sweep reads no more pages',
    { timeout: 240_000 },
    async (_, change) => {
      await using harness = await storeHarness(testDatabase(cluster?.url))
      await using store = await harness.open()
      expect(await claim(store)).toEqual([])
      const { pool, schema, query } = harness.database
      const pages = async (rows: number | null): Promise<number> => {
        const client = await pool.connect()
        try {
          await client.query(
            'begin; set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off',
          )
          const values = [
            500,
            15_000,
            randomUUID(),
            0,
            1_000_000,
            rows,
            1_000_000,
            ['default/topic/paused'],
            [],
          ]
          const { rows: plans } = await client.query(
            `explain (analyze, buffers, format json) ${statements(schema).claimExcept}`,
            values,
          )
          const [{ Plan: plan }] = plans[0]['QUERY PLAN']
          return plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
        } finally {
          await client.query('rollback')
          client.release()
        }
      }
      const read: { stretch: number; everything: number }[] = []
      for (const count of [2000, 18_000]) {
        await fill(harness, count)
        await query(`update ${schema}.outbox set ${change}`)
        await query(`vacuum analyze ${schema}.outbox`)
        read.push({ stretch: await pages(500), everything: await pages(null) })
      }
      const [few, many] = read as [(typeof read)[0], (typeof read)[0]]
      expect(many.stretch).toBeLessThan(many.everything / 4)
      expect(many.stretch).toBeLessThan(2 * few.stretch)
    },
  )

  test('is left to autovacuum by a role that does not own it, without a word', {
    timeout: 240_000,
  }, async () => {
    await using harness = await storeHarness(testDatabase(cluster?.url))
    await using owner = await harness.open()
    const { schema, query } = harness.database
    await query(`create role stranger login; grant usage on schema ${schema} to stranger;
      grant select, insert, update, delete on all tables in schema ${schema} to stranger`)
    const { logger, warnings } = collecting()
    const url = Object.assign(new URL(cluster?.url ?? ''), { username: 'stranger' })
    await using store = await harness.open({
      pool: harness.database.newPool({ connectionString: url.href }),
      migrate: 'check',
      vacuumRows: 100,
      logger,
    })
    await fill(harness, 1000)
    await drain(store)
    expect(await claim(owner)).toEqual([])
    const [row] = await query(
      `select pg_stat_get_vacuum_count('${schema}.outbox'::regclass)::int as count`,
    )
    expect(row?.['count']).toBe(0)
    expect(warnings).toEqual([])
    await query(`drop owned by stranger; drop role stranger`)
  })
})
