import { describe, expect, test } from 'vitest'
import { serverAnswers } from '../../postgres/database.ts'
import { claim, message, sent } from '../../postgres/messages.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()
const DAY_MS = 86_400_000

describe.skipIf(!present)('retention on PostgreSQL', () => {
  test('kept rows go with the partition of their day, and the days that are still wanted stay', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ keepSentMs: 3 * DAY_MS })
    const { schema, query } = harness.database
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('today')]))
    await store.outbox.settle((await claim(store)).map(sent))
    await query(
      `create table ${schema}.sent_20200101 partition of ${schema}.sent for values from ('2020-01-01Z') to ('2020-01-02Z')`,
    )
    await query(
      `insert into ${schema}.sent select g, gen_random_uuid(), null, 't', 'default', 'topic', 't', '{}', '', now(), '2020-01-01T12:00Z' from generate_series(1, 500) g`,
    )
    await query(`analyze ${schema}.sent_20200101`)
    expect(await store.outbox.prune({ limit: 10 })).toBe(500)
    expect(await query(`select type from ${schema}.sent`)).toEqual([{ type: 'test.today' }])
    const parts = await query(
      `select count(*)::int as n from pg_inherits where inhparent = '${schema}.sent'::regclass`,
    )
    expect(parts[0]?.['n']).toBe(2)
    expect(await store.outbox.prune({ limit: 10 })).toBe(0)
  })

  test('while one node prunes the inbox, another one leaves it alone', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, pool, query } = harness.database
    await query(
      `insert into ${schema}.inbox select 'c', g::text, now() - interval '30 days' from generate_series(1, 50) g`,
    )
    const other = await pool.connect()
    await other.query('begin')
    await other.query(`select pg_advisory_xact_lock(hashtext('mersal.${schema}'), 2002)`)
    expect(await store.tracker.prune({ olderThanMs: DAY_MS, limit: 20 })).toBe(0)
    await other.query('rollback')
    other.release()
    expect(await store.tracker.prune({ olderThanMs: DAY_MS, limit: 20 })).toBe(20)
    expect(await store.tracker.prune({ olderThanMs: DAY_MS, limit: 100 })).toBe(30)
  })
})
