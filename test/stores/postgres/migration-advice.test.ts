import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import {
  serverAnswers,
  serverUrl,
  testDatabase,
  type TestDatabase,
} from '../../postgres/database.ts'
import { Pool } from 'pg'

interface Role extends AsyncDisposable {
  readonly name: string
  readonly pool: Pool
}

/** A role that may do nothing that is not granted to everybody. */
async function openRole({ query, schema }: TestDatabase): Promise<Role> {
  const name = `${schema}_role`
  await query(`create role ${name} login`)
  const url = new URL(serverUrl)
  url.username = name
  url.password = ''
  const pool = new Pool({ connectionString: url.href, max: 2 })
  return {
    name,
    pool,
    [Symbol.asyncDispose]: async () => {
      await pool.end()
      await query(`drop owned by ${name}`)
      await query(`drop role ${name}`)
    },
  }
}

const opened = async (pool: Pool, schema: string): Promise<unknown> => {
  await using store = postgres({ pool, schema, logger: silentLogger })
  return await store.open().then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe.skipIf(!(await serverAnswers()))(
  'advice when the tables on PostgreSQL cannot be made',
  () => {
    test('a role that may not create schemas is told which right is missing, and the SQL that cures it', async () => {
      await using database = await testDatabase()
      await using role = await openRole(database)
      const schema = `${database.schema}_new`
      const error = await opened(role.pool, schema)
      expect(error).toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
      const [, sql] =
        /An administrator runs: (create schema "\w+" authorization "\w+")/.exec(
          (error as Error).message,
        ) ?? []
      expect(sql).toBe(`create schema "${schema}" authorization "${role.name}"`)
      await database.query(sql!)
      try {
        expect(await opened(role.pool, schema)).toBeUndefined()
      } finally {
        await database.query(`drop schema ${schema} cascade`)
      }
    })

    test('a role that may not create tables in the schema is told so, and the grant cures it, for the queue as well', async () => {
      await using database = await testDatabase()
      await using role = await openRole(database)
      const { schema } = database
      const error = await opened(role.pool, schema)
      const [, sql] =
        /An administrator runs: (grant usage, create on schema "\w+" to "\w+")/.exec(
          (error as Error).message,
        ) ?? []
      expect(sql).toBeDefined()
      await using queue = postgresQueue({ pool: role.pool, schema, logger: silentLogger })
      await expect(queue.subscribe('orders', [])).rejects.toThrow(
        'An administrator runs: grant usage',
      )
      await database.query(sql!)
      expect(await opened(role.pool, schema)).toBeUndefined()
    })

    test('a role that does not own the tables is told who has to migrate them', async () => {
      await using database = await testDatabase()
      await using role = await openRole(database)
      const { schema, query } = database
      expect(await opened(database.pool, schema)).toBeUndefined()
      await query(`delete from ${schema}.migration where version > 4`)
      await query(`grant usage, create on schema ${schema} to ${role.name}`)
      await query(`grant all on all tables in schema ${schema} to ${role.name}`)
      expect(await opened(role.pool, schema)).toMatchObject({
        code: 'MERSAL_STORE_FAILED',
        message: expect.stringContaining(
          "only the owner of the tables may change them: run 'mersal migrate' as that role",
        ) as string,
      })
    })

    test('a table of somebody else with the name of ours is called so, and is not touched', async () => {
      await using database = await testDatabase()
      const { schema, query } = database
      await query(`create table ${schema}.migration (id integer primary key)`)
      expect(await opened(database.pool, schema)).toMatchObject({
        code: 'MERSAL_SCHEMA_MISSING',
        message: expect.stringContaining('is a table of somebody else') as string,
      })
    })

    test('a table of versions that was emptied is told from a schema without tables, and can be filled again', async () => {
      await using database = await testDatabase()
      const { schema, query } = database
      expect(await opened(database.pool, schema)).toBeUndefined()
      await query(`truncate ${schema}.migration`)
      const error = await opened(database.pool, schema)
      const [, sql] =
        /those of this version: (insert into .*)$/.exec((error as Error).message) ?? []
      await query(sql!)
      expect(await opened(database.pool, schema)).toBeUndefined()
    })
  },
)
