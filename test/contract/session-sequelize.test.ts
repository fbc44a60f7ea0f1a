import { Sequelize, type Transaction } from 'sequelize'
import { sequelize } from '../../src/sql/sessions/sequelize.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

sessionSuite<Transaction>('Sequelize 6', async ({ schema }, url) => {
  const instance = new Sequelize(url, { logging: false, pool: { min: 0, max: 3 } })
  const ended = await instance.transaction((transaction) => Promise.resolve(transaction))
  return {
    session: sequelize<Transaction>(instance),
    transaction: (work) => instance.transaction(work),
    insert: async (transaction, text) =>
      void (await instance.query(`insert into ${schema}.business values ($1)`, {
        bind: [text],
        transaction,
      })),
    savepoint: (transaction, work) => instance.transaction({ transaction }, work),
    fail: async (transaction) => void (await instance.query('select 1 / 0', { transaction })),
    end: async (transaction, text) => void (await instance.query(text, { transaction })),
    endingCalls: [(transaction) => transaction.commit(), (transaction) => transaction.rollback()],
    harmless: async (transaction) =>
      void (await instance.query('select $1::text', { bind: ['x; commit'], transaction })),
    // Sequelize 6 gives a savepoint and the first one inside it the same name.
    savepointDepth: 1,
    roots: [instance, ended],
    close: () => instance.close(),
  }
})
