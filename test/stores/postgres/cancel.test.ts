import { describe, expect, test, vi } from 'vitest'
import type { Cancellation } from '../../../src/core/outbox.ts'
import type { Store } from '../../../src/index.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { postgres } from '../../../src/postgres.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'
import { message } from '../../postgres/messages.ts'

const delayed = (label: string) => ({ ...message(label), delayMs: 600_000 })

async function cancelIn<Tx>(
  store: Store<Tx>,
  tx: Tx,
  id: string,
): Promise<Cancellation | undefined> {
  return await store.outbox.waiting?.cancel?.(tx, id)
}

describe.skipIf(!(await serverAnswers()))('a cancel on PostgreSQL', () => {
  test.each([
    ['commits', 'commit', 'gone'],
    ['is rolled back', 'rollback', 'cancelled'],
  ])(
    'P7: waits for a claim of its row that %s, and says what is true then',
    async (_, end, answer) => {
      await using database = await testDatabase()
      await using store = postgres({
        pool: database.newPool(),
        schema: database.schema,
        logger: silentLogger,
      })
      await store.open()
      const row = delayed('row')
      await store.unitOfWork((tx) => store.outbox.save(tx, [row]))
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
      await using store = postgres({
        pool: database.newPool(),
        schema: database.schema,
        logger: silentLogger,
      })
      await store.open()
      const row = delayed('row')
      await store.unitOfWork((tx) => store.outbox.save(tx, [row]))
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
    await using store = postgres({
      pool: database.newPool({ options: '-c default_transaction_isolation=repeatable\\ read' }),
      schema: database.schema,
      logger: silentLogger,
    })
    await store.open()
    const row = { ...message('row'), delayMs: 1 }
    await store.unitOfWork((tx) => store.outbox.save(tx, [row]))
    const late = store.unitOfWork(async (tx) => {
      await tx.query('select 1 from pg_class')
      const claimed = await store.outbox.claim({ limit: 1, claimMs: 60_000, token: 'relay' })
      expect(claimed).toHaveLength(1)
      return cancelIn(store, tx, row.id)
    })
    await expect(late).rejects.toMatchObject({ code: '40001' })
  })
})
