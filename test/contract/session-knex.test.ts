import connectKnex, { type Knex } from 'knex'
import { knex } from '../../src/sql/sessions/knex.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

sessionSuite<Knex.Transaction>('Knex 3', async ({ schema }, url) => {
  const db = connectKnex({ client: 'pg', connection: url, pool: { min: 0, max: 3 } })
  const ended = await db.transaction((trx) => Promise.resolve(() => trx))
  return {
    session: knex<Knex.Transaction>(db),
    transaction: (work) => db.transaction(work),
    insert: async (trx, text) => void (await trx(`${schema}.business`).insert({ text })),
    savepoint: (trx, work) => trx.transaction((inner) => work(inner)),
    nestsInTurn: true,
    fail: async (trx) => void (await trx.raw('select 1 / 0')),
    end: async (trx, text) => void (await trx.raw(text)),
    endingCalls: [(trx) => trx.commit(), (trx) => trx.rollback()],
    harmless: async (trx) => void (await trx.raw('select ?::text', ['x; commit'])),
    roots: [db, ended()],
    close: () => db.destroy(),
  }
})
