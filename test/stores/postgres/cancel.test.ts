import { describe, expect, test, vi } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { postgres } from '../../../src/postgres.ts'
import { serverAnswers, type TestDatabase, testDatabase } from '../../postgres/database.ts'
import { cancelIn, claimEnds, delayed, message, saveAlone } from '../../postgres/messages.ts'

/** A store with this row. `settings`: of its connections. */
async function storeWith(
  database: TestDatabase,
  row: OutgoingMessage,
  settings: Parameters<TestDatabase['newPool']>[0] = {},
) {
  const { schema } = database
  const store = postgres({ pool: database.newPool(settings), schema, logger: silentLogger })
  await store.open()
  await saveAlone(store, row)
  return store
}

describe.skipIf(!(await serverAnswers()))('a cancel on PostgreSQL', () => {
  test.each(claimEnds)(
    'P7: waits for a claim of its row that %s, and says what is true then',
    async (_, end, answer) => {
      await using database = await testDatabase()
      const row = delayed('row')
      await using store = await storeWith(database, row)
      const relay = await database.pool.connect()
      await relay.query('begin')
      // As a claim does.
      await relay.query(
        `update ${database.schema}.outbox set token = gen_random_uuid(), attempts = attempts + 1`,
      )
      const cancelling = store.unitOfWork((tx) => cancelIn(store, tx, row.id))
      const waits = async () =>
        (
          await database.query(
            `select 1 from pg_locks where not granted and locktype = 'transactionid'`,
          )
        ).length
      await vi.waitFor(async () => expect(await waits()).toBe(1), { timeout: 10_000 })
      await relay.query(end)
      relay.release()
      expect(await cancelling).toBe(answer)
    },
  )

  test.each([
    ['that has written', 'create temp table written (n integer)'],
    ['that has written nothing', 'select 1'],
  ])(
    'P1: that is forgotten in a transaction %s removes nothing once that has been rolled back',
    async (_, first) => {
      await using database = await testDatabase()
      const row = delayed('row')
      await using store = await storeWith(database, row)
      const client = await database.pool.connect()
      await client.query('begin')
      await client.query(first)
      const forgotten = cancelIn(store, client, row.id).catch(
        (error: { code: string }) => error.code,
      )
      await client.query('rollback')
      expect(['cancelled', 'MERSAL_NOT_A_TRANSACTION']).toContain(await forgotten)
      client.release()
      expect((await store.admin.stats()).pending).toBe(1)
    },
  )

  test('P13: above READ COMMITTED, fails if a relay has claimed the row since the transaction began', async () => {
    await using database = await testDatabase()
    const row = { ...message('row'), delayMs: 1 }
    const options = '-c default_transaction_isolation=repeatable\\ read'
    await using store = await storeWith(database, row, { options })
    const late = store.unitOfWork(async (tx) => {
      await tx.query('select 1 from pg_class')
      const claimed = await store.outbox.claim({ limit: 1, claimMs: 60_000, token: 'relay' })
      expect(claimed).toHaveLength(1)
      return cancelIn(store, tx, row.id)
    })
    await expect(late).rejects.toMatchObject({ code: '40001' })
  })
})
