import { CamelCasePlugin, Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import { kysely } from '../../src/sql/sessions/kysely.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Transaction<Record<string, { text: string }>>

sessionSuite<Tx>('Kysely 0.29', async (database) => {
  const { schema } = database
  const db = new Kysely<Record<string, { text: string }>>({
    dialect: new PostgresDialect({ pool: database.newPool() }),
    plugins: [new CamelCasePlugin()],
  })
  const ended = await db.transaction().execute((trx) => Promise.resolve(trx))
  const savepoint = async (tx: Tx, work: (inner: Tx) => Promise<void>): Promise<void> => {
    await sql`savepoint inner_one`.execute(tx)
    try {
      await work(tx)
      await sql`release savepoint inner_one`.execute(tx)
    } catch (error) {
      await sql`rollback to savepoint inner_one`.execute(tx)
      throw error
    }
  }
  return {
    session: kysely<Tx>(db),
    transaction: (work) => db.transaction().execute(work),
    insert: async (tx, text) => void (await tx.withSchema(schema).insertInto('business').values({ text }).execute()),
    savepoint,
    fail: async (tx) => void (await sql`select 1 / 0`.execute(tx)),
    roots: [db, ended],
    close: () => Promise.resolve(), // its pool belongs to the test database
  }
})
