import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { pglitePool } from '../../../src/pglite.ts'
import { postgres, postgresMigrationSql, type PostgresOptions } from '../../../src/postgres.ts'
import { migrationSql } from '../../../src/sql/postgres/migrate.ts'
import { storeTables } from '../../../src/stores/postgres/schema.ts'
import {
  serverAnswers,
  serverUrl,
  testDatabase,
  type TestDatabase,
} from '../../postgres/database.ts'
import { claim, labels, message, sent } from '../../postgres/messages.ts'
import { type Held, held } from '../../postgres/held.ts'
import { pgbouncer, pgbouncerAvailable } from '../../postgres/pgbouncer.ts'

const present = await serverAnswers()
const steps = Array.from({ length: 14 }, (_, index) => index + 1)

/** The SQL that makes the tables as they were before delayed messages had their times. */
function before(schema: string): string {
  const tables = storeTables(schema)
  return migrationSql({ ...tables, steps: tables.steps.slice(0, 10) }, 0)
}

const openStore = (database: TestDatabase, options: Partial<PostgresOptions> = {}) =>
  postgres({
    pool: database.newPool(),
    schema: database.schema,
    logger: silentLogger,
    ...options,
  })

interface Index {
  readonly valid: boolean
  readonly oid: string
}

async function indexOf({ query, schema }: TestDatabase): Promise<Index | undefined> {
  const [row] = await query(
    `select i.indisvalid as valid, c.oid::text as oid from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = $1::text::regnamespace and c.relname = 'outbox_due'`,
    [schema],
  )
  return row as Index | undefined
}

const versions = async ({ query, schema }: TestDatabase): Promise<unknown[]> =>
  (await query(`select version from ${schema}.migration order by version`)).map(
    ({ version }) => version,
  )

/** A transaction that still sees what was there before, as a long report does. */
async function oldSnapshot(database: TestDatabase): Promise<Held> {
  const client = await database.newPool({ application_name: 'report' }).connect()
  await client.query('begin isolation level repeatable read')
  await client.query('select 1')
  return held(client)
}

/** Until the build waits for older snapshots; throws if the store was opened without one. */
async function building(database: TestDatabase, opening: Promise<unknown>): Promise<void> {
  const opened = opening.then(
    () => true,
    () => true,
  )
  while (!(await Promise.race([opened, sleep(5, false)]))) {
    const [found] = await database.query(
      `select exists (select from pg_stat_progress_create_index p where p.relid = $1::text::regclass
        and p.phase = 'waiting for old snapshots') as waiting`,
      [`${database.schema}.outbox`],
    )
    if (found?.['waiting'] === true) return
  }
  throw new Error('the store was opened, and nobody has seen the index being built')
}

const add = ({ query, schema }: TestDatabase, rows: number): Promise<unknown> =>
  query(
    `insert into ${schema}.outbox (id, type, transport, kind, name, headers, body)
    select gen_random_uuid(), 'test.many', 'default', 'queue', 'q', '{}', '' from generate_series(1, $1::integer)`,
    [rows],
  )

describe.skipIf(!present)('an index of a table on PostgreSQL that is in use', () => {
  test('is built beside a writer, whom it does not keep waiting, among 300,000 rows', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await add(database, 300_000)
    await using report = await oldSnapshot(database)
    await using store = openStore(database)
    const opening = store.open()
    await building(database, opening)
    // Anybody whom the build kept waiting would wait for the report, too.
    for (let written = 0; written < 20; written++) await add(database, 1)
    expect(await indexOf(database)).toMatchObject({ valid: false })
    await report.end()
    await opening
    expect(await indexOf(database)).toMatchObject({ valid: true })
    expect(await versions(database)).toEqual(steps)
  })

  test('is built once by five nodes that start together, of which none keeps the build waiting', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    await using stack = new AsyncDisposableStack()
    const stores = steps.slice(0, 5).map(() => stack.use(openStore(database)))
    const opening = Promise.all(stores.map((store) => store.open()))
    await building(database, opening)
    const { oid } = (await indexOf(database)) as Index
    await report.end()
    await opening
    expect(await indexOf(database)).toEqual({ oid, valid: true })
    expect(await versions(database)).toEqual(steps)
    await stores[0]?.unitOfWork((tx) => stores[0]!.outbox.save(tx, [message('ready')]))
    expect(await labels(stores[0]!)).toEqual(['ready'])
  })

  test('keeps no relay of another node waiting that begins a day of kept messages', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    await using store = openStore(database)
    const opening = store.open()
    await building(database, opening)
    await using other = openStore(database, { migrate: 'off', keepSentMs: 86_400_000 })
    await other.open()
    await other.unitOfWork((tx) => other.outbox.save(tx, [message('kept')]))
    // The partition of this day is made now: no step makes it.
    expect(await other.outbox.settle((await claim(other)).map(sent))).toEqual({ stale: 0 })
    expect(await database.query(`select type from ${database.schema}.sent`)).toEqual([
      { type: 'test.kept' },
    ])
    expect(await indexOf(database)).toMatchObject({ valid: false })
    await report.end()
    await opening
  })

  test('is dropped and built anew when a build was cut off', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    await using victim = openStore(database)
    const cutOff = victim.open()
    await building(database, cutOff)
    await database.query(
      `select pg_terminate_backend(pid) from pg_stat_progress_create_index where relid = $1::text::regclass`,
      [`${database.schema}.outbox`],
    )
    await expect(cutOff).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    const left = (await indexOf(database)) as Index
    expect(left.valid).toBe(false)
    await report.end()
    await using store = openStore(database)
    await store.open()
    const built = (await indexOf(database)) as Index
    expect(built.valid).toBe(true)
    expect(built.oid).not.toBe(left.oid)
    expect(await versions(database)).toEqual(steps)
  })

  test('is waited for when the program that began it has died, and its build goes on', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    const dead = openStore(database)
    const cutOff = dead.open()
    await building(database, cutOff)
    const gone = expect(cutOff).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    // Its sockets go; the server does not look for that while it builds.
    await dead[Symbol.asyncDispose]()
    await gone
    const { oid } = (await indexOf(database)) as Index
    await using store = openStore(database)
    const opening = store.open()
    await building(database, opening)
    await report.end()
    await opening
    expect(await indexOf(database)).toEqual({ oid, valid: true })
    expect(await versions(database)).toEqual(steps)
  })

  test('is left as it is when somebody has built it beforehand, as the printed step says', async () => {
    await using database = await testDatabase()
    const { schema } = database
    await database.pool.query(before(schema))
    const byHand = postgresMigrationSql({ schema, from: 10 })
      .split('\n')
      .filter((line) => line.startsWith('--   '))
      .map((line) => line.slice(5))
    expect(byHand).toHaveLength(3)
    for (const statement of byHand) await database.query(statement)
    const built = await indexOf(database)
    await using store = openStore(database)
    await store.open()
    expect(await indexOf(database)).toEqual(built)
    expect(await versions(database)).toEqual(steps)
  })

  test('is left as it is where one step has added the column and the index', async () => {
    await using database = await testDatabase()
    const { schema, query } = database
    await database.pool.query(before(schema))
    await query(`alter table ${schema}.outbox add column due_at timestamptz`)
    await query(`create index outbox_due on ${schema}.outbox (due_at) where due_at is not null`)
    await query(
      `insert into ${schema}.migration (version, name) values (11, 'times of delayed messages')`,
    )
    const built = await indexOf(database)
    await using store = openStore(database)
    await store.open()
    expect(await indexOf(database)).toEqual(built)
    expect(await versions(database)).toEqual(steps)
  })

  test('is built whatever time limits the connections of the application have', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    const limits = { statement_timeout: 300, lock_timeout: 300, query_timeout: 10_000 }
    await using store = openStore(database, { pool: database.newPool(limits) })
    const opening = store.open()
    await building(database, opening)
    await sleep(1000)
    await report.end()
    await opening
    expect(await indexOf(database)).toMatchObject({ valid: true })
  })

  test('is built over one connection, of `pg` and of PGlite', async () => {
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    const one = database.newPool({ max: 1 })
    await using store = openStore(database, { relayPool: one, listen: false })
    await store.open()
    expect(await indexOf(database)).toMatchObject({ valid: true })
    await using db = await PGlite.create()
    await db.exec(before('mersal'))
    const pool = pglitePool(db)
    await using lite = postgres({ pool, relayPool: pool, logger: silentLogger })
    await lite.open()
    const { rows } = await db.query(
      `select max(version)::int as version, to_regclass('mersal.outbox_due') is not null as found from mersal.migration`,
    )
    expect(rows).toEqual([{ version: 14, found: true }])
  })

  test.skipIf(!pgbouncerAvailable())('is built behind a pooler by two nodes', async () => {
    await using pooler = await pgbouncer(serverUrl)
    await using database = await testDatabase()
    await database.pool.query(before(database.schema))
    await using report = await oldSnapshot(database)
    const pool = database.newPool({ connectionString: pooler.url })
    await using one = openStore(database, { pool })
    await using two = openStore(database, { pool })
    const opening = Promise.all([one.open(), two.open()])
    await building(database, opening)
    await add(database, 1)
    await report.end()
    await opening
    expect(await indexOf(database)).toMatchObject({ valid: true })
    expect(await versions(database)).toEqual(steps)
  })
})
