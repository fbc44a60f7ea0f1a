import { randomBytes } from 'node:crypto'
import { createPool, type Pool, type PoolOptions, type RowDataPacket } from 'mysql2/promise'
import { afterAll } from 'vitest'
import { isPresent } from '../../scripts/servers/present.ts'

/**
 * A user of the server who may create users and databases. A MariaDB from Debian lets `root` in
 * without a password on 127.0.0.1; anything else is told by `MERSAL_TEST_MYSQL_URL`.
 */
export const administratorUrl: string =
  process.env['MERSAL_TEST_MYSQL_URL'] ?? 'mysql://root@127.0.0.1:3306'

/**
 * The user of this test file, who may do anything in databases of tests and nothing elsewhere, from
 * where we come alone. Nobody else knows its password, which may never be printed.
 */
const user = {
  name: `mersal_test_${Math.floor(Date.now() / 1000)}_${randomBytes(6).toString('hex')}`,
  password: `canary-my5ql-${randomBytes(12).toString('hex')}`,
}

/** The address of the server for the user of the tests. */
const serverUrl: string = (() => {
  const url = new URL(administratorUrl)
  url.username = user.name
  url.password = user.password
  return url.href
})()

async function asAdministrator<Result>(work: (pool: Pool) => Promise<Result>): Promise<Result> {
  const pool = createPool({ uri: administratorUrl, connectionLimit: 1, connectTimeout: 3000 })
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

/** Longer than any test file takes, in seconds. */
const STALE_S = 3600

/** Users of runs that were killed. Their names say when they were made. */
async function dropStaleUsers(pool: Pool): Promise<void> {
  const [rows] = await pool.query<RowDataPacket[]>(
    `select user as name, host as place from mysql.user where user regexp '^mersal_test_[0-9]+_'`,
  )
  for (const { name, place } of rows) {
    const made = Number(String(name).split('_')[2])
    if (Date.now() / 1000 - made > STALE_S)
      await pool.query(`drop user if exists '${String(name)}'@'${String(place)}'`)
  }
}

/** Makes the user. Returns its name with the host from which it may come. */
async function makeUser(pool: Pool): Promise<string> {
  await dropStaleUsers(pool)
  const [[row]] = await pool.query<RowDataPacket[]>(
    `select substring_index(user(), '@', -1) as host`,
  )
  const account = `'${user.name}'@'${String(row?.['host'])}'`
  await pool.query(`create user ${account} identified by '${user.password}'`)
  await pool.query(`grant all privileges on \`mersal\\_test\\_%\`.* to ${account}`)
  return account
}

async function reach(): Promise<string | undefined> {
  try {
    const account = await asAdministrator(makeUser)
    afterAll(() => asAdministrator((pool) => pool.query(`drop user ${account}`)))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/**
 * Whether a MariaDB or MySQL server answers. If not, says so loudly and the tests that need one are
 * skipped by name; in CI that is a failure.
 */
export async function serverAnswers(): Promise<boolean> {
  const problem = await reach()
  return isPresent(
    problem &&
      `NO MYSQL SERVER: ${problem}. Start one on 127.0.0.1:3306 or set MERSAL_TEST_MYSQL_URL`,
  )
}

/** A database of its own, and a table for business rows. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string
  readonly url: string
  readonly pool: Pool
  /** Another pool like it, as another process would have. Closed with the database. */
  newPool(options?: PoolOptions): Pool
  readonly query: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
}

export async function testDatabase(): Promise<TestDatabase> {
  const name = `mersal_test_${randomBytes(6).toString('hex')}`
  const address = new URL(serverUrl)
  address.pathname = `/${name}`
  const url = address.href
  const server = createPool({ uri: serverUrl, connectionLimit: 1 })
  await server.query(`create database ${name} character set utf8mb4`)
  const pools: Pool[] = []
  const newPool = (options: PoolOptions = {}): Pool => {
    const pool = createPool({ uri: url, connectionLimit: 6, ...options })
    pools.push(pool)
    return pool
  }
  const pool = newPool()
  await pool.query('create table business (text varchar(200) not null)')
  return {
    name,
    url,
    pool,
    newPool,
    query: async (text, values) => {
      const [rows] = await pool.query<RowDataPacket[]>(text, values)
      return rows
    },
    async [Symbol.asyncDispose]() {
      for (const open of pools) await open.end()
      await server.query(`drop database ${name}`)
      await server.end()
    },
  }
}

/** Databases that the tests of a file use one after the other. */
export interface Databases extends AsyncDisposable {
  /** An empty one. Its tables are there if an earlier test has opened a store on it. */
  next(): Promise<TestDatabase>
}

/** Making the tables anew for the next test costs a server more than most tests do. */
export function reusedDatabases(): Databases {
  const free: TestDatabase[] = []
  return {
    async next() {
      const kept = free.pop() ?? (await testDatabase())
      const pools: Pool[] = []
      const newPool = (options: PoolOptions = {}): Pool => {
        const pool = createPool({ uri: kept.url, connectionLimit: 6, ...options })
        pools.push(pool)
        return pool
      }
      return {
        ...kept,
        pool: newPool(),
        newPool,
        async [Symbol.asyncDispose]() {
          for (const open of pools) await open.end()
          await empty(kept)
          free.push(kept)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      for (const kept of free.splice(0)) await kept[Symbol.asyncDispose]()
    },
  }
}

/** What is kept comes from the migration: its record, and a row for each lock of keys. */
async function empty({ name, query }: TestDatabase): Promise<void> {
  const tables = await query(
    `select table_name as name from information_schema.tables
    where table_schema = ? and table_name not in ('mersal_migration', 'mersal_key_lock')`,
    [name],
  )
  for (const table of tables) await query(`delete from ${String(table['name'])}`)
}
