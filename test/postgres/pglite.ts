import { randomBytes } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { pglitePool } from '../../src/pglite.ts'
import type { SuiteDatabase } from './session-suite.ts'

/** A schema of its own, with a table for business rows, in a PGlite that lives in memory. */
export async function pgliteSchema(db: PGlite): Promise<Required<SuiteDatabase>> {
  const schema = `mersal_test_${randomBytes(6).toString('hex')}`
  await db.exec(`create schema ${schema}; create table ${schema}.business (text text not null)`)
  const pool = pglitePool(db)
  return {
    schema,
    pool,
    relayPool: pool,
    query: async (text, values) => (await db.query<Record<string, unknown>>(text, values)).rows,
    [Symbol.asyncDispose]: async () => void (await db.exec(`drop schema ${schema} cascade`)),
  }
}
