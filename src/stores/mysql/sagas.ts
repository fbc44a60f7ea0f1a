import type { SagaInstance, SagaKey, SagaStore } from '../../core/records/sagas.ts'
import { keyOfSaga, readSaga, readSagas, type SagaRow } from '../../sql/shared/saga-rows.ts'
import type { MigrateMode } from '../../sql/shared/migrations.ts'
import { bytesOf, textOf } from '../../sql/mysql/bytes.ts'
import { explain } from '../../sql/mysql/failure.ts'
import { migrate, type MysqlTables, mysqlSchemaControl } from '../../sql/mysql/migrate.ts'
import { type Tables, tablesIn } from '../../sql/mysql/names.ts'
import type { Own } from '../../sql/mysql/own.ts'
import { NOW_MS } from '../../sql/mysql/server.ts'
import type { Place } from './place.ts'
import type { Lane } from './save.ts'

export interface SagaPorts<Tx> {
  readonly place: Place
  readonly migrate: MigrateMode
  readonly own: Own
  readonly laneOf: (tx: Tx) => Lane
}

/** Without an id it is no instance: a transaction has locked the key. */
const saga = ({ saga: table }: Tables): string => `
create table if not exists ${table} (
  app varbinary(255) not null,
  saga varbinary(255) not null,
  saga_key varbinary(255) not null,
  id char(36) character set ascii collate ascii_bin null,
  version int unsigned not null default 0,
  state longblob null,
  timeouts longblob null,
  created_at bigint not null default 0, -- milliseconds since the Unix epoch
  updated_at bigint not null default 0,
  primary key (app, saga, saga_key)
) engine = InnoDB row_format = dynamic`

export function sagaTables(database: string): MysqlTables {
  const steps = [{ version: 1, name: 'sagas', statements: [saga(tablesIn(database))] }]
  return { name: 'mysql saga', place: `in database '${database}'`, database, steps }
}

const columns = 'id, cast(version as char) as version, state, timeouts'
const mine = 'app = ? and saga = ? and saga_key = ?'

function statements({ saga: table }: Tables) {
  return {
    read: `select ${columns} from ${table} where ${mine} and id is not null for update`,
    lock: `insert into ${table} (app, saga, saga_key) values (?, ?, ?) on duplicate key update saga_key = saga_key`,
    write: `insert into ${table} (app, saga, saga_key, id, version, state, timeouts, created_at, updated_at)
      values (?, ?, ?, ?, ?, ?, ?, ${NOW_MS}, ${NOW_MS})
      on duplicate key update created_at = if(id = values(id), created_at, values(created_at)),
        id = values(id), version = values(version), state = values(state),
        timeouts = values(timeouts), updated_at = values(updated_at)`,
    remove: `delete from ${table} where ${mine}`,
    list: (behind: boolean, given: readonly string[]): string =>
      `select app, saga, saga_key as \`key\`, ${columns}, cast(created_at as char) as created, cast(updated_at as char) as updated
      from ${table} where id is not null ${given.map((column) => `and ${column} = ?`).join(' ')}
      ${behind ? 'and (app, saga, saga_key) > (?, ?, ?)' : ''}
      order by app, saga, saga_key limit ?`,
  } as const
}

export function mysqlSagas<Tx>({ place, own, laneOf, ...ports }: SagaPorts<Tx>): SagaStore<Tx> {
  const tables = sagaTables(place.database)
  const sql = statements(place.tables)
  const run = async (tx: Tx, text: string, values: readonly unknown[]): Promise<readonly Row[]> => {
    try {
      return (await laneOf(tx).run(text, values, { often: true })).rows
    } catch (error) {
      throw explain(place.database, error)
    }
  }
  const read = async (tx: Tx, key: SagaKey): Promise<SagaInstance | undefined> =>
    readSaga((await run(tx, sql.read, bytesOfKey(key))).map(asTexts))
  return {
    schema: mysqlSchemaControl(own, tables),
    open: () => migrate(own, tables, ports.migrate),
    async load(tx, key) {
      const found = await read(tx, key)
      if (found !== undefined) return found
      // Another transaction may be making one: its row is waited for, or this one is.
      await run(tx, sql.lock, bytesOfKey(key))
      return read(tx, key)
    },
    async store(tx, key, instance) {
      if (instance === undefined) await run(tx, sql.remove, bytesOfKey(key))
      else {
        const { id, version, state, timeouts } = instance
        const values = [bytesOf(id), version, bytesOf(state), bytesOf(timeouts)]
        await run(tx, sql.write, [...bytesOfKey(key), ...values])
      }
    },
    async list({ app, saga: name, key, after, limit }) {
      const given = Object.entries({ app, saga: name, saga_key: key }).flatMap(([column, value]) =>
        value === undefined ? [] : [[column, bytesOf(value)] as const],
      )
      const text = sql.list(
        after !== undefined,
        given.map(([column]) => column),
      )
      const values = given.map(([, value]) => value)
      const behind = after === undefined ? [] : bytesOfKey(after)
      const { rows } = await own.run<Row>('reading sagas', text, [...values, ...behind, limit])
      return readSagas(rows.map(asTexts))
    },
  }
}

const bytesOfKey = (key: SagaKey): Buffer[] => keyOfSaga(key).map(bytesOf)

type Row = Readonly<Record<string, unknown>>

function asTexts(row: Row): SagaRow {
  const texts = Object.entries(row).map(([name, value]) => [name, textOf(value)] as const)
  return Object.fromEntries(texts) as unknown as SagaRow
}
