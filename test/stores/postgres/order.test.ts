import { describe, expect, test } from 'vitest'
import type { Isolation } from '../../../src/postgres.ts'
import { own } from '../../../src/sql/postgres/pool/pool.ts'
import { serverAnswers, type TestDatabase } from '../../postgres/database.ts'
import { claim, labels, message, sent } from '../../postgres/messages.ts'
import { race } from '../../postgres/race.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()

interface Race {
  readonly keys: number
  readonly limit: number
  readonly express: boolean
  readonly isolation?: Isolation
  /** Messages are written in one flight with the commit. */
  readonly pipeline?: boolean
}

async function raceAt({ isolation, pipeline = false, ...terms }: Race): Promise<void> {
  await using harness = await storeHarness()
  await using stack = new AsyncDisposableStack()
  const open = async () => {
    const pool = harness.database.newPool({ pipeline })
    return stack.use(
      await harness.open({
        pool,
        ...(isolation === undefined ? {} : { isolation, retrySerialization: 100 }),
      }),
    )
  }
  await race(open, { ...terms, units: 150 })
}

describe.skipIf(!present)('order per key on PostgreSQL', () => {
  test('gap race: 4 claimers of small batches, 4 hot keys, writers with rollbacks and late commits', () =>
    raceAt({ keys: 4, limit: 3, express: false }))

  test('gap race: 4 claimers of large batches, 12 keys', () =>
    raceAt({ keys: 12, limit: 50, express: false }))

  test('express race: writers publish what was born claimed, next to 4 claimers, 4 hot keys', () =>
    raceAt({ keys: 4, limit: 5, express: true }))

  test('P5: express race: messages are written in one flight with the commit', () =>
    raceAt({ keys: 4, limit: 5, express: true, pipeline: true }))

  test('express race: 12 keys', () => raceAt({ keys: 12, limit: 20, express: true }))

  test('the order of positions is the order of commits also when units are SERIALIZABLE', () =>
    raceAt({ keys: 6, limit: 10, express: true, isolation: 'serializable' }))

  test('at REPEATABLE READ and with an asynchronous commit, keyed messages are born free', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const express = { token: '00000000-0000-7000-8000-000000000001', graceMs: 60_000 }
    for (const first of [
      'set transaction isolation level repeatable read',
      'set local synchronous_commit = off',
    ]) {
      const saved = await store.unitOfWork(async (tx) => {
        await tx.query(first)
        return await store.outbox.save(tx, [message('free', first)], { express })
      })
      expect(saved.map(({ kind }) => kind)).toEqual(['row'])
    }
    const [granted] = await store.unitOfWork((tx) =>
      store.outbox.save(tx, [message('claimed', 'k')], { express }),
    )
    expect(granted?.kind).toBe('born-claimed')
  })

  test('P10: rows that a frozen relay has locked are free again when the server has ended its transaction', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { pool, schema } = harness.database
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('one', 'k')]))
    const frozen = Promise.withResolvers<void>()
    const locked = Promise.withResolvers<void>()
    const relay = own(pool, schema).transaction('claiming messages', async (query) => {
      await query(`select from ${schema}.outbox for update`)
      locked.resolve()
      await frozen.promise
      await query('select 1')
    })
    const ended = expect(relay).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    await locked.promise
    expect(await claim(store)).toEqual([])
    let rows = await claim(store)
    while (rows.length === 0) {
      await pool.query('select pg_sleep(0.05)')
      rows = await claim(store)
    }
    expect(rows).toHaveLength(1)
    frozen.resolve()
    await ended
  })

  test('a former owner whose settlement waits while the row is being taken over changes nothing', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('one')]))
    const [mine] = await claim(store)
    if (mine === undefined) throw new Error('nothing claimed')
    const { schema } = harness.database
    const thief = await harness.database.pool.connect()
    await thief.query('begin')
    await thief.query(
      `update ${schema}.outbox set token = gen_random_uuid(), visible_at = now() + interval '1 hour'`,
    )
    const settling = store.outbox.settle([sent(mine)])
    await untilLockWait(harness.database)
    await thief.query('commit')
    thief.release()
    expect(await settling).toEqual({ stale: 1 })
    expect((await store.admin.stats()).pending).toBe(1)
  })

  test('a message that is saved in ten thousand copies with as many keys needs no more locks than the server has', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const many = Array.from({ length: 10_000 }, (_, index) => message(`${index}`, `key ${index}`))
    const saved = await store.unitOfWork((tx) => store.outbox.save(tx, many))
    expect(saved.length).toBe(10_000)
    expect(
      saved.every((row, index) => index === 0 || row.position > (saved[index - 1]?.position ?? 0n)),
    ).toBe(true)
    expect((await labels(store)).slice(0, 3)).toEqual(['0', '1', '2'])
  })
})

async function untilLockWait({ query, schema }: TestDatabase): Promise<void> {
  for (;;) {
    const rows = await query(
      `select 1 from pg_stat_activity where wait_event_type = 'Lock' and application_name = '${schema}'`,
    )
    if (rows.length > 0) return
  }
}
