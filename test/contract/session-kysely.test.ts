import {
  CamelCasePlugin,
  CompiledQuery,
  Kysely,
  PostgresDialect,
  sql,
  type Transaction,
} from 'kysely'
import { kysely } from '../../src/sql/sessions/kysely.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Transaction<Record<string, { text: string }>>

sessionSuite<Tx>('Kysely 0.29', async (database) => {
  const { schema } = database
  const db = new Kysely<Record<string, { text: string }>>({
    dialect: new PostgresDialect({ pool: database.newPool() }),
    plugins: [new CamelCasePlugin()],
  })
  const ended = await db.transaction().execute((trx) => Promise.resolve(trx))
  return {
    session: kysely<Tx>(db),
    transaction: (work) => db.transaction().execute(work),
    insert: async (tx, text) =>
      void (await tx.withSchema(schema).insertInto('business').values({ text }).execute()),
    savepoint: (tx, work) =>
      plainSavepoint(
        (text) => sql.raw(text).execute(tx),
        () => work(tx),
      ),
    fail: async (tx) => void (await sql`select 1 / 0`.execute(tx)),
    end: async (tx, text) => void (await sql.raw(text).execute(tx)),
    endingCalls: [
      (tx) => tx.executeQuery(CompiledQuery.raw('commit')),
      (tx) => tx.withoutPlugins().executeQuery(CompiledQuery.raw('rollback')),
    ],
    harmless: async (tx) => void (await sql`select ${'x; commit'}::text`.execute(tx)),
    roots: [db, ended],
    close: () => Promise.resolve(), // its pool belongs to the test database
  }
})
