import type { SagaInstance, SagaKey, SagaRecord, SagaStore } from '../../../core/records/sagas.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import { explain } from '../../../sql/postgres/failure.ts'
import { migrate, postgresSchemaControl } from '../../../sql/postgres/migrate.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import type { Session, SqlValue } from '../../../sql/session.ts'
import type { MigrateMode } from '../../../sql/shared/migrations.ts'
import { keyOfSaga, readSaga, readSagas, type SagaRow } from '../../../sql/shared/saga-rows.ts'
import { sagaTables } from './saga-tables.ts'

export interface SagaPorts<Tx> {
  readonly schema: string
  readonly migrate: MigrateMode
  readonly own: Own
  readonly session: Session<Tx>
}

const milliseconds = (column: string): string =>
  `(extract(epoch from ${column}) * 1000)::bigint::text`

function statements(schema: string) {
  const table = `${quoteIdentifier(schema)}.saga`
  const mine = `app = $1::text and saga = $2::text and key = $3::text`
  return {
    read: `select id::text as id, version::text as version, state::text as state, timeouts::text as timeouts from ${table} where ${mine} for update`,
    lock: `select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('mersal.saga.${schema}'), pg_catalog.hashtext($1::text))::text as locked`,
    write: `insert into ${table} (app, saga, key, id, version, state, timeouts) values ($1::text, $2::text, $3::text, $4::text::uuid, $5::text::integer, $6::text::json, $7::text::json)
on conflict (app, saga, key) do update set id = excluded.id, version = excluded.version, state = excluded.state, timeouts = excluded.timeouts,
  created_at = case when saga.id = excluded.id then saga.created_at else excluded.created_at end, updated_at = excluded.updated_at`,
    remove: `delete from ${table} where ${mine}`,
    list: `select app, saga, key, id::text as id, version::text as version, state::text as state, timeouts::text as timeouts, ${milliseconds('created_at')} as created, ${milliseconds('updated_at')} as updated
from ${table}
where ($1::text is null or app = $1::text) and ($2::text is null or saga = $2::text) and ($3::text is null or key = $3::text)
  and ($4::text is null or (app collate "C", saga collate "C", key collate "C") > ($4::text, $5::text, $6::text))
order by app collate "C", saga collate "C", key collate "C" limit $7::text::integer`,
  } as const
}

export function postgresSagas<Tx>(ports: SagaPorts<Tx>): SagaStore<Tx> {
  const { schema, own, session } = ports
  const sql = statements(schema)
  const tablesOfSagas = sagaTables(schema)
  const run = async (tx: Tx, text: string, values: readonly SqlValue[]): Promise<SagaRow[]> => {
    try {
      const { rows } = await session.executor(tx).query(text, values, { often: true })
      return rows as unknown as SagaRow[]
    } catch (error) {
      throw explain(schema, error)
    }
  }
  const read = async (tx: Tx, key: SagaKey): Promise<SagaInstance | undefined> =>
    readSaga(await run(tx, sql.read, keyOfSaga(key)))
  return {
    schema: postgresSchemaControl(own, tablesOfSagas),
    open: () => migrate(own, tablesOfSagas, ports.migrate),
    async load(tx, key) {
      const found = await read(tx, key)
      if (found !== undefined) return found
      // There is no row that could be locked, and another transaction may be making one.
      await run(tx, sql.lock, [JSON.stringify(keyOfSaga(key))])
      return read(tx, key)
    },
    async store(tx, key, instance) {
      if (instance === undefined) await run(tx, sql.remove, keyOfSaga(key))
      else {
        const { id, version, state, timeouts } = instance
        await run(tx, sql.write, [...keyOfSaga(key), id, String(version), state, timeouts])
      }
    },
    async list({ app, saga, key, after, limit }): Promise<readonly SagaRecord[]> {
      const behind = after === undefined ? [null, null, null] : keyOfSaga(after)
      const values = [app ?? null, saga ?? null, key ?? null, ...behind, String(limit)]
      const { rows } = await own.run<SagaRow>('reading sagas', sql.list, values)
      return readSagas(rows)
    },
  }
}
