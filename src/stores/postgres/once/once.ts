import type { OnceClaimed, OnceKey, OnceStore } from '../../../core/records/once.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import { explain, isConflict } from '../../../sql/postgres/failure.ts'
import { migrate, postgresSchemaControl } from '../../../sql/postgres/migrate.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import type { Session, SqlValue } from '../../../sql/session.ts'
import type { MigrateMode } from '../../../sql/shared/migrations.ts'
import { onceEnded, valuesOfOnce } from '../../../sql/shared/once-rows.ts'
import { onceTables } from './once-tables.ts'

export interface OncePorts<Tx> {
  readonly schema: string
  readonly migrate: MigrateMode
  readonly own: Own
  readonly session: Session<Tx>
}

type Row = Readonly<Record<string, string | null>>

/**
 * The advisory lock tells at once whether another transaction has the key; the unique index decides.
 * The row that is kept must be of this very transaction: `xmin` says so.
 */
function statements(schema: string) {
  const table = `${quoteIdentifier(schema)}.once`
  const mine = `app = $1::text and scope = $2::text and key = $3::text`
  return {
    claim: `with locked as materialized (
  select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('mersal.once.${schema}'), pg_catalog.hashtext($6::text)) as got
), added as (
  insert into ${table} (app, scope, key, fingerprint, expires_at)
  select $1::text, $2::text, $3::text, $4::text, pg_catalog.clock_timestamp() + $5::text::float8 * interval '1 millisecond'
  from locked where locked.got
  on conflict do nothing returning 1
)
select (select count(*) from added)::text as added`,
    read: `select fingerprint, response::text as response from ${table} where ${mine}`,
    // A library may answer an update with something else than its rows.
    keep: `with kept as (
  update ${table} set response = $4::text::json where ${mine} and xmin = pg_catalog.pg_current_xact_id()::xid returning 1
)
select count(*)::text as kept from kept`,
    prune: `with over as (
  select app, scope, key from ${table} where expires_at < pg_catalog.clock_timestamp() - $2::text::float8 * interval '1 millisecond'
  order by expires_at limit $1::text::integer for update skip locked
), gone as (
  delete from ${table} o using over where o.app = over.app and o.scope = over.scope and o.key = over.key returning 1
)
select count(*)::text as removed from gone`,
  } as const
}

export function postgresOnce<Tx>(ports: OncePorts<Tx>): OnceStore<Tx> {
  const { schema, own, session } = ports
  const sql = statements(schema)
  const tables = onceTables(schema)
  const run = async (
    tx: Tx,
    text: string,
    values: readonly SqlValue[],
  ): Promise<readonly Row[]> => {
    try {
      return (await session.executor(tx).query(text, values, { often: true })).rows as Row[]
    } catch (error) {
      throw explain(schema, error)
    }
  }
  const take = async (tx: Tx, key: OnceKey, values: readonly SqlValue[]): Promise<OnceClaimed> => {
    const all = [...valuesOfOnce(key), ...values, JSON.stringify(valuesOfOnce(key))]
    const [taken] = await run(tx, sql.claim, all)
    if (taken?.['added'] === '1') return { kind: 'first' }
    const [row] = await run(tx, sql.read, valuesOfOnce(key))
    if (row === undefined) return { kind: 'running' }
    return {
      kind: 'kept',
      fingerprint: row['fingerprint'] ?? '',
      response: row['response'] ?? undefined,
    }
  }
  return {
    schema: postgresSchemaControl(own, tables),
    open: () => migrate(own, tables, ports.migrate),
    async claim(tx, key, { fingerprint, keepMs }) {
      try {
        return await take(tx, key, [fingerprint, String(keepMs)])
      } catch (error) {
        // Above READ COMMITTED: another transaction has just committed this key.
        if (isConflict(error)) return { kind: 'running' }
        throw error
      }
    },
    async keep(tx, key, response) {
      const [answer] = await run(tx, sql.keep, [...valuesOfOnce(key), response])
      if (answer?.['kept'] !== '1') throw onceEnded('postgres')
    },
    async prune({ limit, longerMs = 0 }) {
      const values = [String(limit), String(longerMs)]
      const { rows } = await own.run<Row>('pruning answers of requests', sql.prune, values)
      return Number(rows[0]?.['removed'] ?? 0)
    },
  }
}
