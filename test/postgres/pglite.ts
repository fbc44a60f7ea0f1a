import { randomBytes } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { pglitePool } from '../../src/pglite.ts'
import { emptying } from './database.ts'
import type { SuiteDatabase } from './session-suite.ts'

/**
 * A schema with a table for business rows, in a PGlite that lives in memory. It is the one of an
 * earlier test, emptied, if that has given it back.
 */
export async function pgliteSchema(db: PGlite): Promise<Required<SuiteDatabase>> {
  const kept = free.get(db) ?? []
  free.set(db, kept)
  const schema = kept.pop() ?? (await newSchema(db))
  const pool = pglitePool(db)
  return {
    schema,
    pool,
    relayPool: pool,
    query: async (text, values) => (await db.query<Record<string, unknown>>(text, values)).rows,
    async [Symbol.asyncDispose]() {
      await db.exec(emptying(schema))
      kept.push(schema)
    },
  }
}

/** They go with their PGlite. */
const free = new WeakMap<PGlite, string[]>()

async function newSchema(db: PGlite): Promise<string> {
  const schema = `mersal_test_${randomBytes(6).toString('hex')}`
  await db.exec(`create schema ${schema}; create table ${schema}.business (text text not null)`)
  return schema
}
