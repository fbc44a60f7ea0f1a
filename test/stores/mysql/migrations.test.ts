import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { mysql } from '../../../src/mysql.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'

/** Longer than an answer to anything else may take. */
const LONG_MS = 16_000

const openStore = (database: TestDatabase) =>
  mysql({ pool: database.newPool(), logger: silentLogger })

/** What step 2 makes: the column, and its key. */
async function made(database: TestDatabase): Promise<unknown> {
  const [found] = await database.query(
    `select (select count(*) from information_schema.columns
        where table_schema = ? and table_name = 'mersal_outbox' and column_name = 'due_at') as columns,
      (select count(*) from information_schema.statistics
        where table_schema = ? and table_name = 'mersal_outbox' and index_name = 'mersal_outbox_due') as parts`,
    [database.name, database.name],
  )
  const steps = await database.query(
    `select version from mersal_migration where component = 'mysql' order by version`,
  )
  return { ...found, steps: steps.map(({ version }) => version) }
}

const whole = { columns: 1, parts: 1, steps: [1, 2, 3, 4] }

describe.skipIf(!(await serverAnswers()))('migrations on MySQL', () => {
  test('a node waits for another one that takes long', async () => {
    await using database = await testDatabase()
    const other = await database.pool.getConnection()
    const name = createHash('sha256').update(database.name).digest('hex').slice(0, 32)
    await other.query(`select get_lock('mersal.${name}', 0)`)
    await using store = openStore(database)
    const opening = store.open()
    await Promise.race([sleep(LONG_MS), opening])
    expect(await database.query(`show tables like 'mersal_outbox'`)).toEqual([])
    await other.query(`select release_lock('mersal.${name}')`)
    other.release()
    await opening
    expect(await made(database)).toEqual(whole)
  })

  test.each([
    ['before the column', 'drop key mersal_outbox_due, drop column due_at'],
    ['between the column and its key', 'drop key mersal_outbox_due'],
    ['before it was recorded', 'comment = ""'],
  ])('a step that was cut off %s is run again', async (_when, undone) => {
    await using database = await testDatabase()
    await using before = openStore(database)
    await before.open()
    await database.query(`alter table mersal_outbox ${undone}`)
    await database.query(`delete from mersal_migration where component = 'mysql' and version >= 2`)
    await using store = openStore(database)
    await store.open()
    expect(await made(database)).toEqual(whole)
  })
})
