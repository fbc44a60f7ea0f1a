import { describe, expect, test } from 'vitest'
import { mysql } from '../../../src/mysql.ts'
import { storedMessage } from '../../../src/stores/mysql/encode.ts'
import { placeIn } from '../../../src/stores/mysql/place.ts'
import { serverAnswers, testDatabase } from '../../mysql/server.ts'
import { message } from '../../postgres/messages.ts'

const present = await serverAnswers()

describe.skipIf(!present)('while somebody wants the whole outbox for himself, on MySQL', () => {
  /**
   * The server does not see that these three wait in a circle, because rows and tables are locked
   * in two places. It ends after `innodb_lock_wait_timeout`, 50 s:
   *
   * 1. A writer locks two keys. Another one has the outbox, and waits for one of these keys.
   * 2. A program wants the whole outbox, and waits for the other writer.
   * 3. The first writer inserts, and waits for the outbox behind that program.
   */
  test.each(['read committed', 'repeatable read', 'serializable'])(
    'P10: at %s, a writer that has locked keys writes to it, and locks no row of others',
    async (isolation) => {
      await using database = await testDatabase()
      await using store = mysql({ pool: database.pool })
      await store.open?.()
      const { sql } = placeIn(database.name)
      const values = [...storedMessage(message('a'), 1000).values(null, 0)]
      await using stack = new AsyncDisposableStack()
      const connect = async () => {
        const connection = await database.pool.getConnection()
        stack.defer(() => connection.destroy())
        await connection.query(`set session transaction isolation level ${isolation}`)
        return connection
      }
      const [writer, other, guest] = [await connect(), await connect(), await connect()]
      for (const each of [writer, other]) await each.query('begin')
      await writer.query(sql.lock(2), [1, 2])
      await other.query(sql.many(1), values)
      await other.query('commit')
      const locked = guest.query('lock tables mersal_outbox write').then(() => 'locked')
      const waits = `select count(*) as count from information_schema.processlist where db = database() and info like 'lock tables%' and state like '%metadata lock%'`
      await expect.poll(() => database.query(waits)).toMatchObject([{ count: 1 }])
      await writer.query(sql.many(1), values)
      await writer.query('commit')
      expect(await locked).toBe('locked')
    },
  )
})
