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

/**
 * Takes back what a test has written. Making the tables anew for the next test costs a server more
 * than most tests do.
 */
export const emptying = (schema: string): string => `
do $$
declare
  one record;
begin
  for one in select c.oid::regclass as name from pg_catalog.pg_class c
    where c.relnamespace = '${schema}'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and c.relname not like '%migration'
    -- Rows that point at others go first.
    order by exists (select from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'f') desc
  loop
    execute 'delete from ' || one.name;
  end loop;
  for one in select c.oid::regclass as name from pg_catalog.pg_class c
    where c.relnamespace = '${schema}'::regnamespace and c.relkind = 'S'
  loop
    perform pg_catalog.setval(one.name, 1, false);
  end loop;
  -- What is kept is counted by the statistics, which come up to a second late.
  perform pg_catalog.pg_stat_force_next_flush();
end $$`

/** Schemas that the tests of a file use one after the other. */
export interface Schemas extends AsyncDisposable {
  /** An empty one. Its tables are there if an earlier test has opened a store on it. */
  next(): Promise<TestDatabase>
}

/** `url` is asked for when the first test runs. */
export function reusedSchemas(url: () => string = () => serverUrl): Schemas {
  const free: TestDatabase[] = []
  return {
    async next() {
      const kept = free.pop() ?? (await testDatabase(url()))
      const pools: Pool[] = []
      const newPool = (options: PoolConfig = {}): Pool => {
        const pool = openPool(url(), kept.schema, options)
        pools.push(pool)
        return pool
      }
      return {
        ...kept,
        pool: newPool(),
        newPool,
        async [Symbol.asyncDispose]() {
          for (const open of pools) await open.end()
          await kept.query(emptying(kept.schema))
          free.push(kept)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      for (const kept of free.splice(0)) await kept[Symbol.asyncDispose]()
    },
  }
}

function openPool(url: string, schema: string, options: PoolConfig): Pool {
  const pool = new Pool({ connectionString: url, max: 6, application_name: schema, ...options })
  pool.on('error', () => {})
  return pool
}

export async function testDatabase(url: string = serverUrl): Promise<TestDatabase> {
  const schema = `mersal_test_${randomBytes(6).toString('hex')}`
  const pools: Pool[] = []
  const newPool = (options: PoolConfig = {}): Pool => {
    const pool = openPool(url, schema, options)
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
