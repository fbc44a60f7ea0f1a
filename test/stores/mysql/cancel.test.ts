import { describe, expect, test, vi } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { mysql } from '../../../src/mysql.ts'
import { serverAnswers, type TestDatabase, testDatabase } from '../../mysql/server.ts'
import { cancelIn, claimEnds, delayed, message, saveAlone } from '../../postgres/messages.ts'

/** A store with these rows. */
async function storeWith(database: TestDatabase, ...rows: readonly OutgoingMessage[]) {
  const store = mysql({ pool: database.newPool(), logger: silentLogger })
  await store.open()
  for (const row of rows) await saveAlone(store, row)
  return store
}

describe.skipIf(!(await serverAnswers()))('a cancel on MySQL', () => {
  test.each(claimEnds)(
    'P7: waits for a claim of its row that %s, and says what is true then',
    async (_, end, answer) => {
      const row = delayed('row')
      await using database = await testDatabase()
      await using store = await storeWith(database, row)
      const relay = await database.pool.getConnection()
      await relay.query('begin')
      // As a claim does.
      await relay.query('update mersal_outbox set token = uuid(), attempts = attempts + 1')
      const cancelling = store.unitOfWork((tx) => cancelIn(store, tx, row.id))
      await vi.waitFor(
        async () => {
          const [waits] = await database.query(`show status like 'Innodb_row_lock_current_waits'`)
          expect(Number(waits?.['Value'])).toBeGreaterThan(0)
        },
        { timeout: 10_000 },
      )
      await relay.query(end)
      relay.release()
      expect(await cancelling).toBe(answer)
    },
  )

  test('P7: of what a relay has taken does not hold up its settlement, while the transaction stays open', async () => {
    const row = delayed('row')
    await using database = await testDatabase()
    await using store = await storeWith(database, row)
    await database.query(
      'update mersal_outbox set visible_at = utc_timestamp(6), due_at = visible_at',
    )
    const token = crypto.randomUUID()
    const [claimed] = await store.outbox.claim({ limit: 1, claimMs: 60_000, token })
    const position = claimed?.position ?? 0n
    const other = await database.pool.getConnection()
    await other.query('set session transaction isolation level repeatable read')
    await other.query('begin')
    expect(await cancelIn(store, other as never, row.id)).toBe('gone')
    const settled = store.outbox.settle([{ kind: 'sent', position, token, keep: false }])
    await expect(settled).resolves.toEqual({ stale: 0 })
    await other.query('commit')
    other.release()
  })

  test.for([
    ['off', { answer: 'gone' }],
    ['on', { code: 'ER_CHECKREAD' }],
  ] as const)(
    'P13: at REPEATABLE READ, with innodb_snapshot_isolation %s, tells of a claim since its transaction began',
    async ([isolation, told], { skip }) => {
      const row = { ...message('row'), delayMs: 1 }
      await using database = await testDatabase()
      await using store = await storeWith(database, row)
      const known = await database.query(`show variables like 'innodb_snapshot_isolation'`)
      // MySQL, and an older MariaDB, are as with 'off'.
      if (isolation === 'on') skip(known.length === 0, 'no innodb_snapshot_isolation here')
      const other = await database.pool.getConnection()
      if (known.length > 0)
        await other.query(`set session innodb_snapshot_isolation = ${isolation}`)
      await other.query('set session transaction isolation level repeatable read')
      await other.query('begin')
      await other.query('select count(*) from mersal_outbox')
      const token = crypto.randomUUID()
      const claim = () => store.outbox.claim({ limit: 1, claimMs: 60_000, token })
      await vi.waitFor(async () => expect(await claim()).toHaveLength(1))
      const cancelling = cancelIn(store, other as never, row.id).then((answer) => ({ answer }))
      expect(await cancelling.catch((error: unknown) => error)).toMatchObject(told)
      await other.query('rollback')
      other.release()
      expect((await store.admin.stats()).pending).toBe(1)
    },
  )

  test('of an unknown message holds up nobody, at REPEATABLE READ', async () => {
    await using database = await testDatabase()
    await using store = await storeWith(database)
    const other = await database.pool.getConnection()
    await other.query('set session transaction isolation level repeatable read')
    await other.query('begin')
    expect(await cancelIn(store, other as never, message('none').id)).toBe('unknown')
    const rows = [delayed('later'), message('now')]
    await store.unitOfWork((tx) => store.outbox.save(tx, rows))
    await other.query('commit')
    other.release()
    expect((await store.admin.stats()).pending).toBe(2)
  })
})
