import { createHash } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import type { SchemaControl } from '../../core/operations.ts'
import { bytesOf } from './bytes.ts'
import { errorNumber } from './failure.ts'
import { quoteName } from './names.ts'
import { onlyRow, type Own, type Query } from './own.ts'
import {
  type MigrateMode,
  missingSteps,
  mustMigrate,
  type NamedStep,
  schemaControl,
  type Tables,
} from '../shared/migrations.ts'

/**
 * MySQL commits each statement that changes
 * tables by itself, so that a step may be run again after it was cut off: each of its statements
 * must allow that.
 */
export interface MysqlStep extends NamedStep {
  readonly statements: readonly string[]
}

/** Tables of one database, which several lists may share. */
export interface MysqlTables extends Tables<MysqlStep> {
  readonly database: string
}

/** Nobody waits longer than it takes another node to run all steps. */
const LOCK_SECONDS = 60
/** The server says first that the time is over. */
const LOCK_ANSWER_MS = (LOCK_SECONDS + 10) * 1000
/** No such table, no such database. */
const NOT_THERE = new Set([1146, 1049])

const place = ({ database }: MysqlTables): string =>
  `${quoteName(database)}.${quoteName('mersal_migration')}`

const doneTable = (tables: MysqlTables): string => `
create table if not exists ${place(tables)} (
  component varbinary(32) not null,
  version int unsigned not null,
  name varbinary(100) not null,
  applied_at datetime(6) not null,
  primary key (component, version)
) engine = InnoDB`

const record = (tables: MysqlTables, { version, name }: MysqlStep): string =>
  `insert ignore into ${place(tables)} (component, version, name, applied_at) values ('${tables.name}', ${version}, '${name}', utc_timestamp(6))`

/** The version of the tables, or 0 when there are none. */
async function currentVersion(query: Query, tables: MysqlTables): Promise<number> {
  try {
    const answer = await query<{ version: unknown }>(
      `select max(version) as version from ${place(tables)} where component = ?`,
      [bytesOf(tables.name)],
    )
    return Number(onlyRow(answer).version ?? 0)
  } catch (error) {
    if (NOT_THERE.has(errorNumber(error) ?? 0)) return 0
    throw error
  }
}

const readVersion = (own: Own, tables: MysqlTables): Promise<number> =>
  own.connection('reading the version of the tables', (query) => currentVersion(query, tables))

/**
 * Brings the tables up to date, or checks that they are. Any number of nodes may do so at once: the
 * first one takes the lock, the others wait and find nothing to do.
 */
export async function migrate(own: Own, tables: MysqlTables, mode: MigrateMode): Promise<void> {
  if (mode === 'off' || !mustMigrate(tables, await readVersion(own, tables), mode)) return
  // The lock goes with the connection, which is closed afterwards.
  await own.connection('migrating the tables', (query) => bringUpToDate(query, tables))
}

async function bringUpToDate(query: Query, tables: MysqlTables): Promise<void> {
  const { database } = tables
  const lock = createHash('sha256').update(database).digest('hex').slice(0, 32)
  const waiting = await query<{ mine: unknown }>(
    `select get_lock('mersal.${lock}', ${LOCK_SECONDS}) as mine`,
    [],
    { answerMs: LOCK_ANSWER_MS },
  )
  if (Number(onlyRow(waiting).mine) !== 1) {
    const text = `another program has been migrating database '${database}' for more than ${LOCK_SECONDS} s`
    throw new MersalError('MERSAL_STORE_BUSY', `${tables.name}: ${text}`)
  }
  const missing = missingSteps(tables, await currentVersion(query, tables))
  await query(doneTable(tables))
  for (const step of missing) {
    // The server would go on with one that is cut off here, and with every start it would begin anew.
    for (const statement of step.statements) await query(statement, [], { answerMs: 'unlimited' })
    await query(record(tables, step))
  }
}

export function mysqlSchemaControl(own: Own, tables: MysqlTables): SchemaControl {
  return schemaControl(tables, {
    current: () => readVersion(own, tables),
    upgrade: () => migrate(own, tables, 'auto'),
    script: (from) => migrationSql(tables, from),
  })
}

/** Everything as plain SQL, for those who run migrations with tools of their own. */
export function migrationSql(tables: MysqlTables, from: number): string {
  const open = tables.steps
    .filter(({ version }) => version > from)
    .flatMap((step) => [...step.statements, record(tables, step)])
  const head = from > 0 ? [] : [doneTable(tables)]
  return [...head, ...open].map((statement) => `${statement.trim()};\n`).join('\n')
}
