import { describe, expect, test } from 'vitest'
import type { Isolation } from '../../../src/mysql.ts'
import { serverAnswers } from '../../mysql/server.ts'
import { storeHarness } from '../../mysql/store-harness.ts'
import { claim, labelOf, message } from '../../postgres/messages.ts'
import { race } from '../../postgres/race.ts'

const present = await serverAnswers()

interface Race {
  readonly keys: number
  readonly limit: number
  readonly express: boolean
  readonly isolation?: Isolation
}

async function raceAt({ isolation, ...terms }: Race): Promise<void> {
  await using harness = await storeHarness()
  await using stack = new AsyncDisposableStack()
  const open = async () =>
    stack.use(
      await harness.open({
        retrySerialization: 100,
        ...(isolation === undefined ? {} : { isolation }),
      }),
    )
  await race(open, { ...terms, units: 100, sleep: 'sleep' })
}

describe.skipIf(!present)('order per key on MySQL', () => {
  test('P5: 4 claimers of small batches, 4 hot keys, writers with rollbacks and late commits', () =>
    raceAt({ keys: 4, limit: 3, express: false }))

  test('P5: 4 claimers of large batches, 12 keys', () =>
    raceAt({ keys: 12, limit: 50, express: false }))

  test('P5: writers publish what was born claimed, next to 4 claimers, 4 hot keys', () =>
    raceAt({ keys: 4, limit: 5, express: true }))

  test('P5: units at REPEATABLE READ', () =>
    raceAt({ keys: 6, limit: 10, express: true, isolation: 'repeatable read' }))

  test('at REPEATABLE READ, keyed messages are born free and others are not', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ isolation: 'repeatable read' })
    const express = { token: '00000000-0000-7000-8000-000000000001', graceMs: 60_000 }
    const saved = await store.unitOfWork((tx) =>
      store.outbox.save(tx, [message('free', 'k'), message('born')], { express }),
    )
    expect(saved.map(({ kind }) => kind)).toEqual(['row', 'born-claimed'])
  })

  test('P10: rows that a frozen relay has locked are free again when the server has ended its transaction', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('one', 'k')]))
    const frozen = await harness.database.pool.getConnection()
    await frozen.query('set session idle_transaction_timeout = 1')
    await frozen.beginTransaction()
    await frozen.query('select position from mersal_outbox for update')
    expect(await claim(store)).toEqual([])
    let rows = await claim(store)
    while (rows.length === 0) {
      await harness.database.query('select sleep(0.05)')
      rows = await claim(store)
    }
    expect(rows.map(labelOf)).toEqual(['one'])
    frozen.destroy()
  })
})
