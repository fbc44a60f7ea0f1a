import { describe, test } from 'vitest'
import { mysql, type MysqlConnection } from '../../src/mysql.ts'
import { serverAnswers, testDatabase } from '../mysql/server.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'
import { expectNothingWrong } from './expect.ts'
import type { Library } from './here.ts'

const present = await serverAnswers()

describe.skipIf(!present)('programs on MySQL', () => {
  test('P1 P3: whatever a program does, its rows and messages share one fate', {
    timeout: 120_000,
  }, async () => {
    await using database = await testDatabase()
    const { pool } = database
    const store = mysql({ pool })
    await database.query('create procedure ends() begin commit; end')
    await database.query('create procedure undoes() begin rollback; end')
    const library: Library<MysqlConnection> = {
      async transaction(work) {
        const connection = await pool.getConnection()
        try {
          await connection.beginTransaction()
          await work(connection)
          await connection.commit()
        } catch (error) {
          await connection.rollback()
          throw error
        } finally {
          connection.release()
        }
      },
      insert: async (tx, text) =>
        void (await tx.execute('insert into business values (?)', [text])),
      savepoint: (tx, work) =>
        plainSavepoint(
          (text) => tx.query(text) as Promise<unknown>,
          () => work(tx),
        ),
      fail: async (tx) => void (await tx.query('select * from nowhere')),
      end: async (tx, text) => void (await tx.query(text)),
      endUnseen: async (tx, text) =>
        void (await tx.query(text.includes('rollback') ? 'call undoes()' : 'call ends()')),
    }
    await expectNothingWrong({
      store,
      library,
      abilities: { ends: true, savepoints: true, unseen: true, slips: ['write'] },
      // Keys of within() are locked one by one, so that two of them may wait for each other.
      atOnce: 1,
      rows: async () =>
        (await database.query('select text from business')).map(({ text }) => String(text)),
      messages: async () =>
        (
          await database.query(
            `select json_value(convert(body using utf8mb4), '$.tag') as tag from mersal_outbox`,
          )
        ).map(({ tag }) => String(tag)),
    })
  })
})
