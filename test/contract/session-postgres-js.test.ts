import postgresLibrary, { type TransactionSql } from 'postgres'
import { postgresJs } from '../../src/sql/sessions/postgres-js.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

sessionSuite<TransactionSql>('postgres.js 3', async ({ schema }, url) => {
  // One connection: a statement that came late must not cost it.
  const sql = postgresLibrary(url, { max: 1, onnotice: () => {} })
  const table = sql(`${schema}.business`)
  const ended: TransactionSql[] = []
  await sql.begin((tx) => {
    ended.push(tx)
  })
  return {
    session: postgresJs<TransactionSql>(sql),
    transaction: async (work) => {
      await sql.begin(work)
    },
    insert: async (tx, text) => void (await tx`insert into ${table} values (${text})`),
    savepoint: async (tx, work) => {
      await tx.savepoint((inner) => work(inner))
    },
    fail: async (tx) => void (await tx`select 1 / 0`),
    end: async (tx, text) => void (await tx.unsafe(text)),
    failsForGood: true,
    roots: [sql, ...ended],
    // Of what it was given too late, some is never answered.
    close: () => sql.end({ timeout: 1 }),
  }
})
