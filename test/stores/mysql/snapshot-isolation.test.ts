/**
 * MariaDB 11.6 and later have `innodb_snapshot_isolation` on: a statement that locks a row which
 * has changed since it began to read fails with ER_CHECKREAD, and its transaction is rolled back.
 */
import type { Pool } from 'mysql2/promise'
import { describe, expect, test } from 'vitest'
import { mysql } from '../../../src/mysql.ts'
import { message } from '../../../src/testing/outbox/harness.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'

const present = await serverAnswers()

async function hasSetting({ query }: TestDatabase): Promise<boolean> {
  return (await query(`show variables like 'innodb_snapshot_isolation'`)).length > 0
}

/** A pool whose sessions are as on MariaDB 11.6. */
function isolating(database: TestDatabase): Pool {
  const pool = database.newPool()
  pool.on('connection', (connection) => {
    void connection.query('set session innodb_snapshot_isolation = on')
  })
  return pool
}

const missing = 'no innodb_snapshot_isolation here'

describe.skipIf(!present)('with innodb_snapshot_isolation', () => {
  test('P5: a claim does not mind that rows change while it looks at them', async ({ skip }) => {
    await using database = await testDatabase()
    skip(!(await hasSetting(database)), missing)
    const relayPool = isolating(database)
    await using store = mysql({ pool: database.pool, relayPool })
    await store.open()
    const rows = Array.from({ length: 4000 }, (_, at) => ({
      ...message(`${at}`),
      partitionKey: 'one',
      ...(at === 0 ? { delayMs: 3_600_000 } : {}),
    }))
    await store.unitOfWork((tx) => store.outbox.save(tx, rows))
    const claims = new AbortController()
    const changing = (async () => {
      for (let n = 0; !claims.signal.aborted; n++)
        await database.query(
          'update mersal_outbox set attempts = ? order by position desc limit 1',
          [n % 2],
        )
    })()
    // The first row of the key is not due, so each claim looks at all of them.
    const token = crypto.randomUUID()
    for (let times = 0; times < 20; times++)
      expect(await store.outbox.claim({ limit: 10, claimMs: 60_000, token })).toEqual([])
    claims.abort()
    await changing
  })

  test('P1: a unit whose snapshot is too old is run again as a whole, with retrySerialization', async ({
    skip,
  }) => {
    await using database = await testDatabase()
    skip(!(await hasSetting(database)), missing)
    const pool = isolating(database)
    await using store = mysql({ pool, isolation: 'repeatable read', retrySerialization: 1 })
    await store.open()
    await database.query(`insert into business values ('old')`)
    let runs = 0
    await store.unitOfWork(async (tx) => {
      await tx.query('select * from business')
      if (++runs === 1) await database.query(`update business set text = 'changed'`)
      await tx.query(`update business set text = concat(text, ' by the unit')`)
    })
    expect(runs).toBe(2)
    expect(await database.query('select text from business')).toEqual([
      { text: 'changed by the unit' },
    ])
  })
})
