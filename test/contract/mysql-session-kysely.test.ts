import { createPool } from 'mysql2'
import { Kysely, MysqlDialect, sql, type Transaction } from 'kysely'
import { kysely } from '../../src/sql/sessions/kysely.ts'
import { mysqlSessionSuite } from '../mysql/session-suite.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'

interface Tables {
  business: { text: string }
}
type Tx = Transaction<Tables>

mysqlSessionSuite<Tx>('Kysely 0.29', async ({ url }) => {
  const db = new Kysely<Tables>({
    dialect: new MysqlDialect({ pool: createPool({ uri: url, connectionLimit: 3 }) }),
  })
  const ended = await db.transaction().execute((trx) => Promise.resolve(trx))
  const raw = async (trx: Tx, text: string): Promise<void> => {
    await sql.raw(text).execute(trx)
  }
  return {
    session: kysely<Tx>(db),
    transaction: (work) => db.transaction().execute(work),
    insert: async (trx, text) => void (await trx.insertInto('business').values({ text }).execute()),
    savepoint: (trx, work) =>
      plainSavepoint(
        (text) => raw(trx, text),
        () => work(trx),
      ),
    fail: (trx) => raw(trx, 'select * from nowhere'),
    end: raw,
    roots: [db, ended],
    close: () => db.destroy(),
  }
})
