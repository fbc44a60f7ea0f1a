import { randomBytes } from 'node:crypto'
import { Client, Pool, type PoolConfig } from 'pg'
import { canaryPassword } from '../house/canaries.ts'

/**
 * The server that the tests use; each test has a schema of its own on it. Its password may never be
 * printed.
 */
export const serverUrl: string =
  process.env['MERSAL_TEST_POSTGRES_URL'] ??
  `postgres://postgres:${canaryPassword}@127.0.0.1:5432/test`

async function reach(): Promise<string | undefined> {
  const client = new Client({ connectionString: serverUrl, connectionTimeoutMillis: 3000 })
  try {
    await client.connect()
    await client.end()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/**
 * Whether a PostgreSQL server answers. If not, says so loudly and the tests that need one are
 * skipped by name; in CI that is a failure.
 */
export async function serverAnswers(): Promise<boolean> {
  const problem = await reach()
  if (problem === undefined) return true
  const text = `NO POSTGRESQL SERVER: ${problem}. Start one on 127.0.0.1:5432 or set MERSAL_TEST_POSTGRES_URL.`
  if (process.env['CI'] === 'true') throw new Error(text)
  process.stderr.write(`\n*** ${text} These tests are SKIPPED. ***\n`)
  return false
}

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
