import { createHash } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import type { SchemaControl } from '../../core/operations.ts'
import { bytesOf } from './bytes.ts'
import { errorNumber } from './failure.ts'
import { quoteName } from './names.ts'
import { onlyRow, type Own, type Query } from './own.ts'

export type MigrateMode = 'auto' | 'check' | 'off'

/**
 * One step of a component. Lists of steps only ever grow. MySQL commits each statement that changes
 * tables by itself, so that a step may be run again after it was cut off: each of its statements
 * must allow that.
 */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly statements: readonly string[]
}

/** Tables that live and grow together. Several components may share a database. */
export interface Component {
  /** Begins the texts of errors. */
  readonly name: string
  readonly database: string
  readonly steps: readonly Migration[]
}

/** Nobody waits longer than it takes another node to run all steps. */
const LOCK_SECONDS = 60
/** No such table, no such database. */
const NOT_THERE = new Set([1146, 1049])

const latest = ({ steps }: Component): number => steps.at(-1)?.version ?? 0

const place = ({ database }: Component): string =>
  `${quoteName(database)}.${quoteName('mersal_migration')}`

const doneTable = (component: Component): string => `
create table if not exists ${place(component)} (
  component varbinary(32) not null,
  version int unsigned not null,
  name varbinary(100) not null,
  applied_at datetime(6) not null,
  primary key (component, version)
) engine = InnoDB`

const record = (component: Component, { version, name }: Migration): string =>
  `insert ignore into ${place(component)} (component, version, name, applied_at) values ('${component.name}', ${version}, '${name}', utc_timestamp(6))`

/** The version of the tables, or 0 when there are none. */
async function currentVersion(query: Query, component: Component): Promise<number> {
  try {
    const answer = await query<{ version: unknown }>(
      `select max(version) as version from ${place(component)} where component = ?`,
      [bytesOf(component.name)],
    )
    return Number(onlyRow(answer).version ?? 0)
  } catch (error) {
    if (NOT_THERE.has(errorNumber(error) ?? 0)) return 0
    throw error
  }
}

function tooNew({ name, database }: Component, found: number, known: number): MersalError {
  return new MersalError(
    'MERSAL_SCHEMA_TOO_NEW',
    `${name}: the tables in database '${database}' have version ${found}, and this version of mersal knows only ${known}: upgrade mersal here, or give this program a database of its own`,
    { details: { schema: database, found, known } },
  )
}

const readVersion = (own: Own, component: Component): Promise<number> =>
  own.connection('reading the version of the tables', (query) => currentVersion(query, component))

/**
 * Brings the tables up to date, or checks that they are. Any number of nodes may do so at once: the
 * first one takes the lock, the others wait and find nothing to do.
 */
export async function migrate(own: Own, component: Component, mode: MigrateMode): Promise<void> {
  if (mode === 'off') return
  const { name, database } = component
  const needed = latest(component)
  const found = await readVersion(own, component)
  if (found > needed) throw tooNew(component, found, needed)
  if (found === needed) return
  if (mode === 'check') {
    throw new MersalError(
      'MERSAL_SCHEMA_MISSING',
      `${name}: the tables in database '${database}' have version ${found} of ${needed}: run 'mersal migrate', or open the store once with migrate: 'auto' as a user who may create tables`,
      { details: { schema: database, found, needed } },
    )
  }
  // The lock goes with the connection, which is closed afterwards.
  await own.connection('migrating the tables', (query) => bringUpToDate(query, component))
}

async function bringUpToDate(query: Query, component: Component): Promise<void> {
  const { database, steps } = component
  const lock = createHash('sha256').update(database).digest('hex').slice(0, 32)
  const waiting = await query<{ mine: unknown }>(
    `select get_lock('mersal.${lock}', ${LOCK_SECONDS}) as mine`,
  )
  if (Number(onlyRow(waiting).mine) !== 1) {
    const text = `another program has been migrating database '${database}' for more than ${LOCK_SECONDS} s`
    throw new MersalError('MERSAL_STORE_BUSY', `${component.name}: ${text}`)
  }
  const found = await currentVersion(query, component)
  if (found > latest(component)) throw tooNew(component, found, latest(component))
  await query(doneTable(component))
  for (const step of steps) {
    if (step.version <= found) continue
    for (const statement of step.statements) await query(statement)
    await query(record(component, step))
  }
}

/** The tables for tools of operators, whatever the option `migrate` says. */
export function schemaControl(own: Own, component: Component): SchemaControl {
  return {
    name: `${component.name} tables in database '${component.database}'`,
    async version() {
      const newest = latest(component)
      const current = await readVersion(own, component)
      if (current > newest) throw tooNew(component, current, newest)
      return { current, newest }
    },
    upgrade: () => migrate(own, component, 'auto'),
    sql: (from) => migrationSql(component, from),
  }
}

/** Everything as plain SQL, for those who run migrations with tools of their own. */
export function migrationSql(component: Component, from: number): string {
  const open = component.steps
    .filter(({ version }) => version > from)
    .flatMap((step) => [...step.statements, record(component, step)])
  const head = from > 0 ? [] : [doneTable(component)]
  return [...head, ...open].map((statement) => `${statement.trim()};\n`).join('\n')
}
