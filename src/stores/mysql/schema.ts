import { checkMigrationSql } from '../../sql/shared/options.ts'
import { migrationSql, type MysqlStep, type MysqlTables } from '../../sql/mysql/migrate.ts'
import { type Tables, tablesIn } from '../../sql/mysql/names.ts'
import { quoteText } from '../../sql/shared/migrations.ts'
import { ascii, END } from '../../sql/mysql/columns.ts'
import { keyLockTable } from '../../sql/mysql/key-slots.ts'

/**
 * Columns of a message in every table. Texts lie in binary columns: a collation would take two
 * keys for the same that differ in case, in an accent or in blanks at the end.
 */
const message = `
  id ${ascii('char(36)')} not null,
  partition_key varbinary(255) null,
  type varbinary(255) not null,
  transport varbinary(255) not null,
  kind ${ascii('varchar(5)')} not null,
  name varbinary(255) not null,
  headers longblob not null,
  body longblob not null,
  bytes bigint unsigned generated always as
    (length(body) + length(headers) + length(type) + length(transport) + length(name)) stored`

/**
 * Messages that are not yet confirmed. A row may be taken by whoever comes after `visible_at`; the
 * token fences a former owner. The check of `kind` is also how an insert proves its transaction.
 */
const outbox = (T: Tables): string => `
create table if not exists ${T.outbox} (
  position bigint unsigned not null auto_increment primary key,
  visible_at datetime(6) not null,
  token ${ascii('char(36)')} null,
  attempts int not null default 0,
  added_at datetime(6) not null,
  error blob null,
  died_at datetime(6) null,
  ${message},
  key mersal_outbox_key (partition_key, position),
  constraint mersal_in_transaction check (kind in ('queue', 'topic'))
) ${END}`

/**
 * Messages that were given up. `blocks`: the row is still in the outbox, and holds back its key.
 */
const dead = (T: Tables): string => `
create table if not exists ${T.dead} (
  letter bigint unsigned not null auto_increment primary key,
  position bigint unsigned not null,
  blocks tinyint not null,
  reason ${ascii('varchar(40)')} not null,
  error blob not null,
  maybe_published tinyint not null,
  died_at datetime(6) not null,
  attempts int not null,
  added_at datetime(6) not null,
  ${message}
) ${END}`

/** Confirmed messages, if they are kept. */
const sent = (T: Tables): string => `
create table if not exists ${T.sent} (
  number bigint unsigned not null auto_increment primary key,
  position bigint unsigned not null,
  sent_at datetime(6) not null,
  added_at datetime(6) not null,
  ${message},
  key mersal_sent_age (sent_at),
  key mersal_sent_position (position)
) ${END}`

/** What a consumer has handled. `recorder` and `turn` name who has recorded it, in which call. */
const inbox = (T: Tables): string => `
create table if not exists ${T.inbox} (
  consumer varbinary(255) not null,
  message_id varbinary(255) not null,
  handled_at datetime(6) not null,
  recorder ${ascii('char(36)')} not null,
  turn int unsigned not null,
  hits int unsigned not null default 1,
  primary key (consumer, message_id),
  key mersal_inbox_age (handled_at)
) ${END}`

/** What operators have paused; relays leave such rows alone. */
const pause = (T: Tables): string => `
create table if not exists ${T.pause} (
  kind ${ascii('varchar(11)')} not null,
  name varbinary(600) not null,
  reason blob not null,
  paused_at datetime(6) not null,
  primary key (kind, name)
) ${END}`

/** Messages of a unit that a library has opened, by number; every row goes before the commit. */
const unitMark = (T: Tables): string => `
create table if not exists ${T.unitMark} (
  unit ${ascii('char(36)')} not null,
  number int unsigned not null,
  primary key (unit, number)
) ${END}`

/**
 * When the delay of its sender ends; null without one. It never changes while a relay works on the
 * row. Two statements: a column alone is added at once, however many rows there are, and the server
 * builds the index while others write. MySQL has no `if not exists` for them, so a step that was
 * cut off asks.
 */
const dueTimes = (T: Tables, database: string): readonly string[] => {
  const found = (table: string, column: string, name: string): string =>
    `exists (select 1 from information_schema.${table}
    where table_schema = ${quoteText(database)} and table_name = 'mersal_outbox' and ${column} = '${name}')`
  return [
    ...unless(
      found('columns', 'column_name', 'due_at'),
      `alter table ${T.outbox} add column due_at datetime(6) null`,
    ),
    ...unless(
      found('statistics', 'index_name', 'mersal_outbox_due'),
      `alter table ${T.outbox} add key mersal_outbox_due (due_at)`,
    ),
  ]
}

/** A message is found by its id: a delayed one, to be cancelled. There is no index of a part. */
const ids = (T: Tables, database: string): readonly string[] =>
  unless(
    `exists (select 1 from information_schema.statistics
    where table_schema = ${quoteText(database)} and table_name = 'mersal_outbox' and index_name = 'mersal_outbox_id')`,
    `alter table ${T.outbox} add key mersal_outbox_id (id)`,
  )

/** What became of each attempt that failed, as JSON; null while none has. No row is rewritten. */
const attempts = (T: Tables, database: string): readonly string[] =>
  (['outbox', 'dead'] as const).flatMap((table) =>
    unless(
      `exists (select 1 from information_schema.columns
    where table_schema = ${quoteText(database)} and table_name = 'mersal_${table}' and column_name = 'history')`,
      `alter table ${T[table]} add column history blob null`,
    ),
  )

/** Runs the statement unless the condition holds. */
const unless = (condition: string, statement: string): readonly string[] => [
  `set @mersal_step = if(${condition}, 'do 0',
    ${quoteText(statement)})`,
  'prepare mersal_step from @mersal_step',
  'execute mersal_step',
  'deallocate prepare mersal_step',
]

function migrations(database: string): readonly MysqlStep[] {
  const T = tablesIn(database)
  const statements = [
    outbox(T),
    dead(T),
    sent(T),
    inbox(T),
    pause(T),
    ...keyLockTable(T.keyLock),
    unitMark(T),
  ]
  return [
    { version: 1, name: 'tables', statements },
    { version: 2, name: 'times of delayed messages', statements: dueTimes(T, database) },
    { version: 3, name: 'ids of messages', statements: ids(T, database) },
    { version: 4, name: 'history of attempts', statements: attempts(T, database) },
  ]
}

/** The tables of the store in this database. */
export function storeTables(database: string): MysqlTables {
  const place = `in database '${database}'`
  return { name: 'mysql', place, database, steps: migrations(database) }
}

/**
 * Everything as plain SQL, for those who run migrations with tools of their own. `from`: the
 * version that is already there. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function mysqlMigrationSql(options: {
  readonly schema: string
  readonly from?: number
}): string {
  const { schema, from } = checkMigrationSql('mysqlMigrationSql()', options)
  return migrationSql(storeTables(schema), from)
}
