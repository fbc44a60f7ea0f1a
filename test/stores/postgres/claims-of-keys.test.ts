import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ClaimedMessage } from '../../../src/core/outbox.ts'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'
import { statements } from '../../../src/stores/postgres/statements/statements.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { claim, labelOf, message } from '../../postgres/messages.ts'
import { type StoreHarness, storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()

/** `each` messages of each of so many keys, `k1` and on, in turns: `k1-1`, `k2-1` and on. */
async function fill(store: PostgresStore<PostgresClient>, keys: number, each: number) {
  const names = Array.from({ length: keys }, (_, index) => `k${index + 1}`)
  for (let turn = 1; turn <= each; turn++)
    await store.unitOfWork((tx) =>
      store.outbox.save(
        tx,
        names.map((partitionKey) => message(`${partitionKey}-${turn}`, partitionKey)),
      ),
    )
  return names
}

/** Of each key, the numbers of its messages. */
function turns(rows: readonly ClaimedMessage[]): Record<string, number[]> {
  const found: Record<string, number[]> = {}
  for (const row of rows) {
    const [key, turn] = labelOf(row).split('-') as [string, string]
    ;(found[key] ??= []).push(Number(turn))
  }
  return found
}

interface Plan {
  readonly 'Rows Removed by Join Filter'?: number
  readonly 'Actual Loops': number
  readonly Plans?: readonly Plan[]
}

const comparedInVain = (plan: Plan): number =>
  (plan['Rows Removed by Join Filter'] ?? 0) * plan['Actual Loops'] +
  (plan.Plans ?? []).reduce((sum, part) => sum + comparedInVain(part), 0)

/** How many pairs of rows the statement compares for nothing, with the plan that relays get. */
async function compared({ database }: StoreHarness, keys: readonly string[]): Promise<number> {
  const client = await database.pool.connect()
  try {
    await client.query(
      `begin; set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off; set local plan_cache_mode = force_generic_plan`,
    )
    const values = [500, 15_000, randomUUID(), 0, 1_000_000, null, 1_000_000, [], [], keys]
    const { rows } = await client.query(
      `explain (analyze, format json) ${statements(database.schema).claimKeys}`,
      values,
    )
    const [{ Plan: plan }] = rows[0]['QUERY PLAN'] as [{ Plan: Plan }]
    return comparedInVain(plan)
  } finally {
    await client.query('rollback')
    client.release()
  }
}

describe.skipIf(!present)('a claim of some keys on PostgreSQL', () => {
  test('P9: compares no row of the outbox with the rows of each key', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const keys = await fill(store, 300, 5)
    expect(await compared(harness, keys)).toBeLessThan(1500)
    await claim(store, { limit: 300, keys })
    expect(await compared(harness, keys)).toBeLessThan(1500)
  })

  test('P5: takes of each of them an unbroken run from the first message, however many they are', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const keys = await fill(store, 20, 10)
    const few = turns(await claim(store, { limit: 10, keys }))
    for (const found of Object.values(few)) expect(found).toEqual([1, 2].slice(0, found.length))
    expect(Object.values(few).flat()).toHaveLength(10)
    const rest = turns(await claim(store, { limit: 500, keys }))
    expect(Object.keys(rest).filter((key) => key in few)).toEqual([])
    for (const found of Object.values(rest))
      expect(found).toEqual(Array.from({ length: 10 }, (_, index) => index + 1))
    expect(Object.keys({ ...few, ...rest })).toHaveLength(20)
  })

  test('takes as much of a single key as the claim may hold, and nothing of a key that is held', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await fill(store, 3, 30)
    expect(turns(await claim(store, { limit: 1, keys: ['k2'] }))).toEqual({ k2: [1] })
    const found = turns(await claim(store, { limit: 25, keys: ['k1', 'k2'] }))
    expect(found).toEqual({ k1: Array.from({ length: 25 }, (_, index) => index + 1) })
  })
})
