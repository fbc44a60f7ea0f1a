import connectKnex, { type Knex } from 'knex'
import { knex } from '../../src/sql/sessions/knex.ts'
import { mysqlSessionSuite } from '../mysql/session-suite.ts'

mysqlSessionSuite<Knex.Transaction>('Knex 3', async ({ url }) => {
  const db = connectKnex({ client: 'mysql2', connection: url, pool: { min: 0, max: 3 } })
  const ended = await db.transaction((trx) => Promise.resolve(() => trx))
  return {
    session: knex<Knex.Transaction>(db),
    transaction: (work) => db.transaction(work),
    insert: async (trx, text) => void (await trx('business').insert({ text })),
    savepoint: (trx, work) => trx.transaction((inner) => work(inner)),
    nestsInTurn: true,
    fail: async (trx) => void (await trx.raw('select * from nowhere')),
    end: async (trx, text) => void (await trx.raw(text)),
    roots: [db, ended()],
    close: () => db.destroy(),
  }
})
