import { MersalError } from '../../core/errors.ts'
import { checkIdentifier, quoteIdentifier } from '../../sql/identifiers.ts'
import { sqlState } from './failure.ts'
import type { Own, Query } from './pool.ts'
import { lockClass, type Migration, migrations } from './schema.ts'

export type MigrateMode = 'auto' | 'check' | 'off'

const latest = (steps: readonly Migration[]): number => steps.at(-1)?.version ?? 0

/** The version of the tables, or 0 when there are none. */
async function currentVersion(query: Query, schema: string): Promise<number> {
  const S = quoteIdentifier(schema)
  // Not to_regclass(): it answers from a cache that a session refreshes only now and then.
  const exists = await query<{ found: boolean }>(
    `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1::text and c.relname = 'migration') as found`,
    [schema],
  )
  if (exists.rows[0]?.found !== true) return 0
  const { rows } = await query<{ version: number | null }>(`select max(version)::int4 as version from ${S}.migration`)
  return rows[0]?.version ?? 0
}

function tooNew(schema: string, found: number, known: number): MersalError {
  return new MersalError(
    'MERSAL_SCHEMA_TOO_NEW',
    `postgres: schema '${schema}' has version ${found}, and this version of mersal knows only ${known}: upgrade mersal here, or give this program a schema of its own`,
    { details: { schema, found, known } },
  )
}

/**
 * Brings the tables up to date, or checks that they are. Any number of nodes may do so at once: the
 * first one takes the lock, the others wait and find nothing to do. All steps are one transaction, so
 * that a node that is killed leaves what was there before.
 */
export async function migrate(own: Own, schema: string, mode: MigrateMode): Promise<void> {
  if (mode === 'off') return
  const steps = migrations(schema)
  // Most nodes find everything done, and need neither the lock nor the right to create anything.
  const found = await own.transaction('reading the version of the schema', (query) => currentVersion(query, schema))
  if (found > latest(steps)) throw tooNew(schema, found, latest(steps))
  if (found === latest(steps)) return
  if (mode === 'check') {
    throw new MersalError(
      'MERSAL_SCHEMA_MISSING',
      `postgres: schema '${schema}' has version ${found} of ${latest(steps)}: run 'mersal migrate', or open the store once with migrate: 'auto' as a role that may create it`,
      { details: { schema, found, needed: latest(steps) } },
    )
  }
  await own.transaction('migrating the schema', (query) => bringUpToDate(query, schema, steps))
}

async function bringUpToDate(query: Query, schema: string, steps: readonly Migration[]): Promise<void> {
  const S = quoteIdentifier(schema)
  // Nobody waits longer than it takes another node to run all steps.
  await query(`set local lock_timeout = '60s'`)
  await query(`set local statement_timeout = '60s'`)
  await query(`select pg_catalog.pg_advisory_xact_lock(${lockClass(schema)}, 2000)`)
  const found = await currentVersion(query, schema)
  if (found > latest(steps)) throw tooNew(schema, found, latest(steps))
  if (found === 0) {
    await createSchema(query, S)
    await query(
      `create table if not exists ${S}.migration (version integer primary key, name text not null, applied_at timestamptz not null default now())`,
    )
  }
  for (const { version, name, sql } of steps) {
    if (version <= found) continue
    // Without parameters, so that one call may hold several statements.
    await query.script(sql)
    await query(`insert into ${S}.migration (version, name) values ($1, $2)`, [version, name])
  }
}

async function createSchema(query: Query, S: string): Promise<void> {
  try {
    await query('savepoint mersal_schema')
    await query(`create schema if not exists ${S}`)
  } catch (error) {
    // 42501: the role may not create schemas, but somebody may have made this one for it.
    if (sqlState(error) !== '42501') throw error
    await query('rollback to savepoint mersal_schema')
  }
}

/** Everything as plain SQL, for those who run migrations with tools of their own. `from`: the version that is already there. */
export function postgresMigrationSql(options: { readonly schema?: string; readonly from?: number } = {}): string {
  const schema = checkIdentifier('schema', options.schema ?? 'mersal')
  const from = options.from ?? 0
  const S = quoteIdentifier(schema)
  const head = [
    'begin;',
    `select pg_catalog.pg_advisory_xact_lock(${lockClass(schema)}, 2000);`,
    ...(from > 0
      ? []
      : [
          `create schema if not exists ${S};`,
          `create table if not exists ${S}.migration (version integer primary key, name text not null, applied_at timestamptz not null default now());`,
        ]),
  ]
  const steps = migrations(schema)
    .filter(({ version }) => version > from)
    .map(({ version, name, sql }) => `${sql}\ninsert into ${S}.migration (version, name) values (${version}, '${name}');`)
  return [...head, ...steps, 'commit;', ''].join('\n')
}
