import { sql } from 'drizzle-orm'
import { pgSchema, text } from 'drizzle-orm/pg-core'
import { drizzle as connectDrizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgresLibrary from 'postgres'
import { drizzle } from '../../src/sql/sessions/drizzle.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

type Tx = Parameters<Parameters<PostgresJsDatabase['transaction']>[0]>[0]

sessionSuite<Tx>('Drizzle 0.45 with postgres.js', async ({ schema }, url) => {
  const client = postgresLibrary(url, { max: 3, onnotice: () => {} })
  const db: PostgresJsDatabase = connectDrizzle({ client })
  const business = pgSchema(schema).table('business', { text: text() })
  const ended = await db.transaction((tx) => Promise.resolve(tx))
  return {
    session: drizzle<Tx>(db, { sql }),
    transaction: (work) => db.transaction((tx) => work(tx)),
    insert: async (tx, value) => void (await tx.insert(business).values({ text: value })),
    savepoint: (tx, work) => tx.transaction((inner) => work(inner)),
    fail: async (tx) => void (await tx.execute(sql`select 1 / 0`)),
    end: async (tx, value) => void (await tx.execute(sql.raw(value))),
    failsForGood: true,
    roots: [db, ended],
    close: () => client.end({ timeout: 1 }),
  }
})
