import { describe, expect, test } from 'vitest'
import type { Settlement } from '../../../src/core/outbox.ts'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { message, newToken } from '../../postgres/messages.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()

/** As many units as given, each with one message that is born claimed by a token of its own. */
async function commitUnits(
  store: PostgresStore<PostgresClient>,
  count: number,
): Promise<Settlement[]> {
  const settlements: Settlement[] = []
  for (let unit = 0; unit < count; unit++) {
    const token = newToken()
    const [saved] = await store.unitOfWork((tx) =>
      store.outbox.save(tx, [message(`unit ${unit}`)], { express: { token, graceMs: 60_000 } }),
    )
    if (saved === undefined) throw new Error('nothing was saved')
    settlements.push({ kind: 'sent', position: saved.position, token })
  }
  return settlements
}

async function countDeletes({
  database: { schema, query },
}: StoreHarness): Promise<() => Promise<unknown>> {
  await query(`create table ${schema}.statements (n int)`)
  await query(`create function ${schema}.note() returns trigger language plpgsql as
    $$ begin insert into ${schema}.statements values (1); return null; end $$`)
  await query(
    `create trigger note after delete on ${schema}.outbox for each statement execute function ${schema}.note()`,
  )
  return async () => (await query(`select count(*)::int as n from ${schema}.statements`))[0]?.['n']
}

describe.skipIf(!present)('settling on PostgreSQL', () => {
  test.each([0, 86_400_000])(
    'messages of many units leave with one statement (kept for %d ms)',
    async (keepSentMs) => {
      await using harness = await storeHarness()
      await using store = await harness.open({ keepSentMs })
      const { schema, query } = harness.database
      const settlements = await commitUnits(store, 20)
      const deletes = await countDeletes(harness)
      expect(await store.outbox.settle(settlements)).toEqual({ stale: 0 })
      expect(await deletes()).toBe(1)
      expect(await query(`select type from ${schema}.outbox`)).toEqual([])
      expect(await query(`select count(*)::int as n from ${schema}.sent`)).toEqual([
        { n: keepSentMs === 0 ? 0 : 20 },
      ])
    },
  )

  test('among messages of many units, those that somebody else has claimed stay', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    const settlements = await commitUnits(store, 5)
    const foreign = settlements.map((each, index) =>
      index % 2 === 0 ? each : { ...each, token: newToken() },
    )
    expect(await store.outbox.settle(foreign)).toEqual({ stale: 2 })
    expect(await query(`select type from ${schema}.outbox order by position`)).toEqual([
      { type: 'test.unit 1' },
      { type: 'test.unit 3' },
    ])
  })
})
