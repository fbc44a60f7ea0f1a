import { MersalError } from '../../core/errors/errors.ts'
import type { SchemaControl } from '../../core/operations.ts'
import { quoteIdentifier } from '../identifiers.ts'
import {
  type MigrateMode,
  migrationScript,
  missingSteps,
  mustMigrate,
  quoteText,
  schemaControl,
  type Step,
  type Tables,
} from '../shared/migrations.ts'
import { sqlState } from './failure.ts'
import { lockClass, otherLocks } from './locks.ts'
import { type IndexBeside, underBuildersLock } from './index-beside.ts'
import { type Own, type Query, UNLIMITED_MS } from './pool/pool.ts'

export interface PostgresStep extends Step {
  /** What the step does, for tables that are in use. */
  readonly beside?: IndexBeside
}

/** Tables of one schema, which several lists may share. */
export interface PostgresTables extends Tables<PostgresStep> {
  readonly schema: string
  /** Name of the table of the steps that have been applied. */
  readonly table: string
}

const doneTable = (S: string, table: string): string =>
  `create table if not exists ${S}.${table} (version integer primary key, name text not null, applied_at timestamptz not null default now())`

/** The version of the tables, or 0 when there are none. */
async function currentVersion(query: Query, tables: PostgresTables): Promise<number> {
  const { schema, table } = tables
  const S = quoteIdentifier(schema)
  // Not to_regclass(): it answers from a cache that a session refreshes only now and then.
  const exists = await query<{ found: boolean }>(
    `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1::text and c.relname = $2::text) as found`,
    [schema, table],
  )
  if (exists.rows[0]?.found !== true) return 0
  await checkDoneTable(query, tables)
  const { rows } = await query<{ version: number | null }>(
    `select max(version)::int4 as version from ${S}.${table}`,
  )
  return rows[0]?.version ?? (await nothingDone(query, tables))
}

/** The name may belong to a table of somebody else, or the role may not read it. */
async function checkDoneTable(
  query: Query,
  { name, schema, table }: PostgresTables,
): Promise<void> {
  const { rows } = await query<{ ours: boolean; readable: boolean; role: string }>(
    `select has_table_privilege(c.oid, 'SELECT') as readable, current_user::text as role,
      (select count(*) from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attname in ('version', 'name', 'applied_at') and not a.attisdropped) = 3 as ours
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1::text and c.relname = $2::text`,
    [schema, table],
  )
  const [found] = rows
  const place = `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`
  const refuse = (text: string): MersalError =>
    new MersalError('MERSAL_SCHEMA_MISSING', `${name}: ${text}`, {
      details: { schema, refused: true },
    })
  if (found?.ours === false)
    throw refuse(
      `${place} is a table of somebody else, and mersal keeps its versions in one of that name: give mersal a schema of its own`,
    )
  if (found?.readable === false)
    throw refuse(
      `the role ${found.role} may not read ${place}. An administrator runs: grant select on ${place} to ${quoteIdentifier(found.role)}`,
    )
}

/**
 * The table of versions is there and empty. With the tables beside it, somebody has emptied it:
 * then no step may run again.
 */
async function nothingDone(
  query: Query,
  { name, schema, table, steps }: PostgresTables,
): Promise<number> {
  const first = /create table \S+\.(\w+)/i.exec(steps[0]?.sql ?? '')?.[1]
  if (first === undefined) return 0
  const { rows } = await query<{ found: boolean }>(
    `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1::text and c.relname = $2::text) as found`,
    [schema, first],
  )
  if (rows[0]?.found !== true) return 0
  const place = `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`
  throw new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `${name}: ${place} is empty although the tables are there: it was emptied with them. Put its rows back from a backup, or,` +
      ` if the tables are those of this version: ${filledAgain(place, steps)}`,
    { details: { schema, refused: true } },
  )
}

function filledAgain(place: string, steps: readonly Step[]): string {
  return `insert into ${place} (version, name) values ${steps.map(({ version, name }) => `(${version}, ${quoteText(name)})`).join(', ')}`
}

/**
 * Brings the tables up to date, or checks that they are. Any number of nodes may do so at once: the
 * first one takes the lock, the others wait and find nothing to do. New tables are one transaction,
 * so that a node that is killed leaves what was there before. Of tables that are in use, indexes
 * are built between transactions, while others write.
 */
export async function migrate(own: Own, tables: PostgresTables, mode: MigrateMode): Promise<void> {
  if (mode === 'off') return
  for (;;) {
    // Most nodes find everything done, and need neither the lock nor the right to create anything.
    const found = await versionOf(own, tables)
    if (!mustMigrate(tables, found, mode)) return
    const [next] = missingSteps(tables, found)
    if (besideOf(own, found, next) === undefined)
      await own.transaction('migrating the schema', (query) => bringUpToDate(own, query, tables))
    else await buildNext(own, tables)
  }
}

/** New tables are nobody else's yet, and with one connection nobody writes meanwhile. */
function besideOf(own: Own, found: number, step?: PostgresStep): IndexBeside | undefined {
  return found === 0 || own.single ? undefined : step?.beside
}

const buildNext = (own: Own, tables: PostgresTables): Promise<void> =>
  underBuildersLock(own, tables, async (query) => {
    const found = await currentVersion(query, tables)
    const [next] = missingSteps(tables, found)
    const index = besideOf(own, found, next)
    if (next === undefined || index === undefined) return undefined
    return { index, record: () => record(query, tables, next) }
  })

async function record(
  query: Query,
  { schema, table }: PostgresTables,
  { version, name }: PostgresStep,
): Promise<void> {
  await query(
    `insert into ${quoteIdentifier(schema)}.${table} (version, name) values ($1, $2) on conflict (version) do nothing`,
    [version, name],
  )
}

const versionOf = (own: Own, tables: PostgresTables): Promise<number> =>
  own.transaction('reading the version of the schema', (query) => currentVersion(query, tables))

/** Nobody waits longer than it takes another node to run the steps of a transaction. */
const LOCK_S = 60
/** The server says first that the time is over. */
const LOCK_ANSWER_MS = (LOCK_S + 10) * 1000

const lock = (schema: string): string =>
  `select pg_catalog.pg_advisory_xact_lock(${lockClass(schema)}, ${otherLocks.migration})`

/** Up to the first index that is built while others write. */
async function bringUpToDate(own: Own, query: Query, tables: PostgresTables): Promise<void> {
  const { schema, table } = tables
  await query(`set local lock_timeout = '${LOCK_S}s'`)
  await query(`set local statement_timeout = '${LOCK_S}s'`)
  await query.within(LOCK_ANSWER_MS, lock(schema))
  // A statement that waits for a table keeps everybody behind it waiting. One that works takes as
  // long as it takes: cut off, it would begin anew with every start.
  await query(`set local lock_timeout = '5s'`)
  await query('set local statement_timeout = 0')
  const found = await currentVersion(query, tables)
  const missing = missingSteps(tables, found)
  if (found === 0) {
    await createSchema(query, schema)
    await checkRights(query, schema)
    await query(doneTable(quoteIdentifier(schema), table))
  }
  for (const step of missing) {
    if (besideOf(own, found, step) !== undefined) return
    // Without parameters, so that one call may hold several statements.
    await inTime(tables, query.script(step.sql, UNLIMITED_MS))
    await record(query, tables, step)
  }
}

/** 55P03: somebody holds a table for longer than others should have to wait for us. */
async function inTime({ name, schema }: PostgresTables, work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (cause) {
    if (sqlState(cause) !== '55P03') throw cause
    const text = `${name}: migrating schema '${schema}' waited for more than 5 s for a table that a long transaction holds; nothing was changed. End that transaction (see pg_stat_activity) and try again`
    throw new MersalError('MERSAL_STORE_BUSY', text, { cause, details: { schema } })
  }
}

async function createSchema(query: Query, schema: string): Promise<void> {
  const S = quoteIdentifier(schema)
  try {
    await query('savepoint mersal_schema')
    await query(`create schema if not exists ${S}`)
  } catch (error) {
    // 42501: the role may not create schemas, but somebody may have made this one for it.
    if (sqlState(error) !== '42501') throw error
    await query('rollback to savepoint mersal_schema')
    await checkRights(query, schema, error)
  }
}

interface Rights {
  readonly role: string
  readonly database: string
  readonly there: boolean
  readonly usable: boolean
  readonly creatable: boolean
}

/** The role may not create schemas: what else is missing, and what an administrator has to run. */
async function checkRights(query: Query, schema: string, cause?: unknown): Promise<void> {
  const { rows } = await query<Rights>(
    `select current_user::text as role, current_database()::text as database, n.oid is not null as there,
      coalesce(has_schema_privilege(n.oid, 'USAGE'), false) as usable, coalesce(has_schema_privilege(n.oid, 'CREATE'), false) as creatable
    from (select 1) one left join pg_catalog.pg_namespace n on n.nspname = $1::text`,
    [schema],
  )
  const [found] = rows
  if (found === undefined || (found.usable && found.creatable)) return
  const [S, role, database] = [schema, found.role, found.database].map(quoteIdentifier)
  const missing = [...(found.usable ? [] : ['usage']), ...(found.creatable ? [] : ['create'])].join(
    ', ',
  )
  const text = found.there
    ? `the role ${role} lacks the right ${missing} on schema ${S}. An administrator runs: grant usage, create on schema ${S} to ${role}`
    : `there is no schema ${S}, and the role ${role} may not create one. An administrator runs: create schema ${S} authorization ${role}` +
      ` (or: grant create on database ${database} to ${role}). Then run this again`
  throw new MersalError('MERSAL_SCHEMA_MISSING', `postgres: ${text}`, {
    cause,
    details: { schema, refused: true },
  })
}

export function postgresSchemaControl(own: Own, tables: PostgresTables): SchemaControl {
  return schemaControl(tables, {
    current: () => versionOf(own, tables),
    upgrade: () => migrate(own, tables, 'auto'),
    script: (from) => migrationSql(tables, from),
  })
}

/**
 * Everything as plain SQL, for those who run migrations with tools of their own. `from`: the
 * version that is already there.
 */
export function migrationSql(tables: PostgresTables, from: number): string {
  const { schema, table } = tables
  const S = quoteIdentifier(schema)
  return migrationScript(tables, from, {
    begin: ['begin;', `${lock(schema)};`],
    create: [`create schema if not exists ${S};`, `${doneTable(S, table)};`],
    record: (version, name) =>
      `insert into ${S}.${table} (version, name) values (${version}, ${name});`,
    end: ['commit;'],
  })
}
