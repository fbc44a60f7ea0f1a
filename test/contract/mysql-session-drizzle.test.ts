import { sql } from 'drizzle-orm'
import { drizzle as connectDrizzle, type MySql2Database } from 'drizzle-orm/mysql2'
import { drizzle } from '../../src/sql/sessions/drizzle.ts'
import { mysqlSessionSuite } from '../mysql/session-suite.ts'

type Tx = Parameters<Parameters<MySql2Database['transaction']>[0]>[0]

mysqlSessionSuite<Tx>('Drizzle 0.45', async (database) => {
  const db: MySql2Database = connectDrizzle({ client: database.newPool() })
  const ended = await db.transaction((tx) => Promise.resolve(tx))
  return {
    session: drizzle<Tx>(db, { sql }),
    transaction: (work) => db.transaction(work),
    insert: async (tx, text) => void (await tx.execute(sql`insert into business values (${text})`)),
    savepoint: (tx, work) => tx.transaction((inner) => work(inner)),
    fail: async (tx) => void (await tx.execute(sql`select * from nowhere`)),
    end: async (tx, text) => void (await tx.execute(sql.raw(text))),
    roots: [db, ended],
    close: () => Promise.resolve(), // its pool belongs to the test database
  }
})
