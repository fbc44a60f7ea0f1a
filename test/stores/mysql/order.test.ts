import { describe, expect, test } from 'vitest'
import type { Isolation } from '../../../src/mysql.ts'
import { serverAnswers } from '../../mysql/server.ts'
import { storeHarness } from '../../mysql/store-harness.ts'
import { claim, labelOf, message } from '../../postgres/messages.ts'
import { claimer, inversions, newLedger, writer } from '../../postgres/race.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

const present = await serverAnswers()

interface Race {
  readonly keys: number
  readonly limit: number
  readonly express: boolean
  readonly isolation?: Isolation
}

async function race({ keys, limit, express, isolation }: Race): Promise<void> {
  await using harness = await storeHarness()
  const random = seededRandom(7 * keys + limit)
  const ledger = newLedger()
  let ended = false
  await using stack = new AsyncDisposableStack()
  const open = async () =>
    stack.use(
      await harness.open({
        retrySerialization: 100,
        ...(isolation === undefined ? {} : { isolation }),
      }),
    )
  const claimers = []
  for (let index = 0; index < 4; index++)
    claimers.push(claimer(await open(), ledger, { limit, random, ended: () => ended }))
  const writers = []
  for (let index = 0; index < 3; index++) {
    const options = { keys, units: 100, random, sleep: 'sleep' }
    writers.push(writer(await open(), { ...options, ...(express ? { express: ledger } : {}) }))
  }
  const written = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0)
  ended = true
  await Promise.all(claimers)
  const distinct = new Set(ledger.left.map(({ position }) => position)).size
  expect({ left: ledger.left.length, distinct }).toEqual({ left: written, distinct: written })
  expect({ overlaps: ledger.overlaps, inversions: inversions(ledger.left) }).toEqual({
    overlaps: 0,
    inversions: 0,
  })
}

describe.skipIf(!present)('order per key on MySQL', () => {
  test('P5: 4 claimers of small batches, 4 hot keys, writers with rollbacks and late commits', () =>
    race({ keys: 4, limit: 3, express: false }))

  test('P5: 4 claimers of large batches, 12 keys', () =>
    race({ keys: 12, limit: 50, express: false }))

  test('P5: writers publish what was born claimed, next to 4 claimers, 4 hot keys', () =>
    race({ keys: 4, limit: 5, express: true }))

  test('P5: units at REPEATABLE READ', () =>
    race({ keys: 6, limit: 10, express: true, isolation: 'repeatable read' }))

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
