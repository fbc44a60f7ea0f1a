import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { postgres, postgresMigrationSql } from '../../../src/postgres.ts'
import { migrationSql } from '../../../src/sql/postgres/migrate.ts'
import { storeTables } from '../../../src/stores/postgres/schema.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../postgres/database.ts'
import { labels, message } from '../../postgres/messages.ts'

const present = await serverAnswers()

/** Tables, columns and functions of the schema, for comparing. */
async function shape({ query, schema }: TestDatabase): Promise<unknown> {
  return await query(
    `select 'column' as what, table_name || '.' || column_name as name, data_type as type from information_schema.columns
     where table_schema = $1 and table_name <> 'business'
     union all select 'function', proname, pg_get_function_identity_arguments(oid) from pg_proc where pronamespace = $1::text::regnamespace
     union all select 'index', indexname, '' from pg_indexes where schemaname = $1
     order by 1, 2, 3`,
    [schema],
  )
}

describe.skipIf(!present)('migrations on PostgreSQL', () => {
  test('twenty nodes migrate at once: each step runs once, and all are ready', async () => {
    await using database = await testDatabase()
    const { schema } = database
    await using stack = new AsyncDisposableStack()
    const stores = Array.from({ length: 20 }, () =>
      stack.use(postgres({ pool: database.newPool({ max: 1 }), schema, logger: silentLogger })),
    )
    await Promise.all(stores.map((store) => store.open()))
    const versions = await database.query(
      `select version from ${schema}.migration order by version`,
    )
    expect(versions.map((row) => row['version'])).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    ])
    const [store] = stores
    if (store === undefined) throw new Error('no store')
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('ready')]))
    expect(await labels(store)).toEqual(['ready'])
  })

  test('a node that is killed in the middle leaves nothing, and the next one succeeds', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const victim = await database.pool.connect()
    victim.on('error', () => {})
    const script = postgresMigrationSql({ schema })
    const { rows } = await victim.query<{ pid: number }>('select pg_backend_pid() as pid')
    await victim.query(script.slice(0, script.indexOf('create function')))
    await database.query('select pg_terminate_backend($1)', [rows[0]?.pid])
    await using store = postgres({ pool: database.newPool(), schema })
    await store.open()
    victim.release(true)
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('ready')]))
    expect(await labels(store)).toEqual(['ready'])
  })

  test('the printed SQL makes the same schema as opening a store', async () => {
    await using printed = await testDatabase()
    await using opened = await testDatabase()
    await printed.pool.query(postgresMigrationSql({ schema: printed.schema }))
    await using store = postgres({ pool: opened.newPool(), schema: opened.schema })
    await store.open()
    expect(await shape(printed)).toEqual(await shape(opened))
    await using check = postgres({
      pool: printed.newPool(),
      schema: printed.schema,
      migrate: 'check',
    })
    await check.open()
  })

  test('a program of the version before goes on beside this one: its dead letters are ours, and ours are its own', async () => {
    await using database = await testDatabase()
    const { schema, query, pool } = database
    const tables = storeTables(schema)
    await pool.query(migrationSql({ ...tables, steps: tables.steps.slice(0, 6) }, 0))
    const columns =
      'position, id, attempts, type, transport, kind, name, headers, body, added_at, error, died_at, dead_reason, maybe_published'
    const bury = (position: number, type: string): Promise<unknown> =>
      query(
        `insert into ${schema}.dead (${columns})
        values ($1, gen_random_uuid(), 1, $2, 'default', 'queue', 'q', '{}', '', now(), '', now(), 'refused', false)`,
        [position, type],
      )
    await bury(901, 'test.before')
    await using store = postgres({ pool: database.newPool(), schema, logger: silentLogger })
    await store.open()
    await bury(902, 'test.beside')
    await bury(902, 'test.twin')
    const keys = (await store.admin.deadLetters.list()).map(({ key }) => key)
    expect(keys).toHaveLength(3)
    expect(keys[0]).toBe('901.0')
    expect(await store.admin.deadLetters.retry(keys.slice(0, 2))).toBe(2)
    expect((await labels(store)).includes('before')).toBe(true)
    // What the version before sends.
    const old = await query(`select ${schema}.dead_retry($1::bigint[])::text as retried`, [[902]])
    expect(old).toEqual([{ retried: '1' }])
    await bury(903, 'test.gone')
    expect(
      (await pool.query(`delete from ${schema}.dead where position = any ($1::bigint[])`, [[903]]))
        .rowCount,
    ).toBe(1)
    expect(await store.admin.deadLetters.list()).toEqual([])
  })

  test('check refuses a missing schema with the remedy, and any mode but off a newer one', async () => {
    await using database = await testDatabase()
    const { schema } = database
    await using checking = postgres({ pool: database.newPool(), schema, migrate: 'check' })
    await expect(checking.open()).rejects.toMatchObject({
      code: 'MERSAL_SCHEMA_MISSING',
      message: expect.stringContaining('mersal migrate'),
    })
    await using store = postgres({ pool: database.newPool(), schema })
    await store.open()
    await checking.open()
    await database.query(`insert into ${schema}.migration values (99, 'of the future')`)
    await expect(checking.open()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_TOO_NEW' })
    await expect(store.open()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_TOO_NEW' })
    await using trusting = postgres({ pool: database.newPool(), schema, migrate: 'off' })
    await trusting.open()
  })

  test('a send into a database without the tables says what to do', async () => {
    await using database = await testDatabase()
    await using store = postgres({
      pool: database.newPool(),
      schema: database.schema,
      migrate: 'off',
    })
    await expect(
      store.unitOfWork((tx) => store.outbox.save(tx, [message('one')])),
    ).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
    await expect(store.admin.stats()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
  })

  test('a role without the right to create anything works with tables that others made', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const role = `${schema}_app`
    await using owner = postgres({ pool: database.newPool(), schema })
    await owner.open()
    await database.query(`create role ${role}`)
    try {
      await database.query(`grant usage on schema ${schema} to ${role}`)
      await database.query(
        `grant select, insert, update, delete on all tables in schema ${schema} to ${role}`,
      )
      await using store = postgres({
        pool: database.newPool({ options: `-c role=${role}` }),
        schema,
        migrate: 'check',
      })
      await store.open()
      await store.unitOfWork((tx) => store.outbox.save(tx, [message('one', 'k')]))
      expect(await labels(store)).toEqual(['one'])
    } finally {
      await database.query(`drop owned by ${role}`)
      await database.query(`drop role ${role}`)
    }
  })

  test.each([
    ['a quote', 'a"b'],
    ['a backtick', 'a`b'],
    ['an end of statement', 'a;--'],
    ['a backslash', 'a\\b'],
    ['a NUL', 'a\0b'],
    ['a newline', 'a\nb'],
    ['49 letters', 'a'.repeat(49)],
    ['200 letters', 'a'.repeat(200)],
    ['letters outside ASCII', 'schéma'],
    ['a dot', 'public.x'],
    ['a parameter', '$1'],
    ['a leading digit', '1a'],
    ['nothing', ''],
    ['a blank', 'a b'],
    ['a Unicode escape', 'U&"a"'],
    ['a dash', 'a-b'],
    ['no text', 5],
  ])('a schema name with %s is refused before anything is sent', async (_name, schema) => {
    await using database = await testDatabase()
    expect(() => postgres({ pool: database.pool, schema: schema as string })).toThrow(
      expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        details: { field: 'postgres.schema' },
      }),
    )
  })

  test.each(['select', 'USER', '_', 'Mersal_Test_Mixed'])(
    "a schema may be called '%s'",
    async (name) => {
      await using database = await testDatabase()
      const schema = name === '_' ? '_' : name
      await database.query(`drop schema if exists "${schema}" cascade`)
      try {
        await using store = postgres({ pool: database.newPool(), schema })
        await store.open()
        await store.unitOfWork((tx) => store.outbox.save(tx, [message('one', 'k')]))
        expect(await labels(store)).toEqual(['one'])
      } finally {
        await database.query(`drop schema if exists "${schema}" cascade`)
      }
    },
  )
})
