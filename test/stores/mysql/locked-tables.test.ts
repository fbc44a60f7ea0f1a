import { describe, expect, test } from 'vitest'
import { mysql, mysqlQueue } from '../../../src/mysql.ts'
import { queueTablesIn } from '../../../src/sql/mysql/names.ts'
import { storedMessage } from '../../../src/stores/mysql/encode.ts'
import { placeIn } from '../../../src/stores/mysql/place.ts'
import { queueStatements } from '../../../src/transports/mysql/statements.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'
import { message } from '../../postgres/messages.ts'

const present = await serverAnswers()

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

interface Writing {
  readonly database: TestDatabase
  readonly isolation: string
  readonly table: string
  readonly lockKeys: Statement
  readonly insert: Statement
}

/**
 * A writer locks keys. Another one adds a row, so none is locked. Somebody wants the whole table,
 * and waits for the writer, who adds a row and commits.
 */
async function writeBeforeWhoeverWantsAll(writing: Writing): Promise<void> {
  const { database, isolation, table, lockKeys, insert } = writing
  await using stack = new AsyncDisposableStack()
  const connect = async () => {
    const connection = await database.pool.getConnection()
    stack.defer(() => connection.destroy())
    await connection.query(`set session transaction isolation level ${isolation}`)
    return connection
  }
  const [writer, other, guest] = [await connect(), await connect(), await connect()]
  for (const each of [writer, other]) await each.query('begin')
  await writer.query(lockKeys.text, [...lockKeys.values])
  await other.query(insert.text, [...insert.values])
  await other.query('commit')
  const locked = guest.query(`lock tables ${table} write`).then(() => 'locked')
  const waits = `select count(*) as count from information_schema.processlist where db = database() and info like 'lock tables%' and state like '%metadata lock%'`
  await expect.poll(() => database.query(waits)).toMatchObject([{ count: 1 }])
  await writer.query(insert.text, [...insert.values])
  await writer.query('commit')
  expect(await locked).toBe('locked')
}

/**
 * The server does not see that these three wait in a circle, because rows and tables are locked in
 * two places. It ends after `innodb_lock_wait_timeout`, 50 s:
 *
 * 1. A writer locks two keys. Another one has the table, and waits for one of these keys.
 * 2. A program wants the whole table, and waits for the other writer.
 * 3. The first writer inserts, and waits for the table behind that program.
 */
describe.skipIf(!present)('P10: while somebody wants the whole table for himself, on MySQL', () => {
  test.each(['read committed', 'repeatable read', 'serializable'])(
    'at %s, a writer that has locked keys writes to the outbox, and locks no row of others',
    async (isolation) => {
      await using database = await testDatabase()
      await using store = mysql({ pool: database.pool })
      await store.open?.()
      const { sql } = placeIn(database.name)
      await writeBeforeWhoeverWantsAll({
        database,
        isolation,
        table: 'mersal_outbox',
        lockKeys: { text: sql.lock(2), values: [1, 2] },
        insert: {
          text: sql.many(1),
          values: storedMessage(message('a'), 1000).values(null, 0),
        },
      })
    },
  )

  test('a writer that has locked keys writes to the queue, and locks no row of others', async () => {
    await using database = await testDatabase()
    await using queue = mysqlQueue({ pool: database.pool })
    await queue.subscribe('q', [])
    const sql = queueStatements(queueTablesIn(database.name))
    const [row] = await database.query(sql.queuesOf, ['q'])
    await writeBeforeWhoeverWantsAll({
      database,
      isolation: 'read committed',
      table: 'mersal_queue_message',
      lockKeys: { text: sql.lockKeys, values: [[1, 2]] },
      insert: { text: sql.insert(1), values: [row?.['id'], 0, 'id', 'type', null, '{}', 'body'] },
    })
  })
})
