import { sql } from 'drizzle-orm'
import { drizzle as connectDrizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { drizzle } from '../../src/sql/sessions/drizzle.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0]

sessionSuite<Tx>('Drizzle 0.45', async (database) => {
  const { schema } = database
  const db: NodePgDatabase = connectDrizzle({ client: database.newPool() })
  const ended = await db.transaction((tx) => Promise.resolve(tx))
  return {
    session: drizzle<Tx>(db, { sql }),
    transaction: (work) => db.transaction(work),
    insert: async (tx, text) =>
      void (await tx.execute(sql`insert into ${sql.identifier(schema)}.business values (${text})`)),
    savepoint: (tx, work) => tx.transaction((inner) => work(inner)),
    fail: async (tx) => void (await tx.execute(sql`select 1 / 0`)),
    end: async (tx, text) => void (await tx.execute(sql.raw(text))),
    roots: [db, ended],
    close: () => Promise.resolve(), // its pool belongs to the test database
  }
})
