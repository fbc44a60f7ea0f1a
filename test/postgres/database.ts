import { randomBytes } from 'node:crypto'
import { Pool, type PoolConfig } from 'pg'
import { serverAnswers, serverUrl } from '../../scripts/servers/given.ts'

export { serverAnswers, serverUrl }

/**
 * A schema of its own, a pool whose `search_path` begins with it, and a table for business rows.
 */
export interface TestDatabase extends AsyncDisposable {
  readonly schema: string
  readonly pool: Pool
  /** Another pool like it, as another process would have. Closed with the database. */
  newPool(options?: PoolConfig): Pool
  readonly query: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
}

export async function testDatabase(url: string = serverUrl): Promise<TestDatabase> {
  const schema = `mersal_test_${randomBytes(6).toString('hex')}`
  const pools: Pool[] = []
  const newPool = (options: PoolConfig = {}): Pool => {
    const pool = new Pool({ connectionString: url, max: 6, application_name: schema, ...options })
    pool.on('error', () => {})
    pools.push(pool)
    return pool
  }
  const pool = newPool()
  await pool.query(`create schema ${schema}`)
  await pool.query(`create table ${schema}.business (text text not null)`)
  return {
    schema,
    pool,
    newPool,
    query: async (text, values) =>
      (await pool.query(text, values)).rows as Record<string, unknown>[],
    async [Symbol.asyncDispose]() {
      await pool.query(`drop schema ${schema} cascade`)
      for (const open of pools) await open.end()
    },
  }
}
