import { checkMigrationSql } from '../../sql/shared/options.ts'
import { keyLockTable } from '../../sql/mysql/key-slots.ts'
import { migrationSql, type MysqlTables } from '../../sql/mysql/migrate.ts'
import { ascii, END } from '../../sql/mysql/columns.ts'
import { type QueueTables, queueTablesIn } from '../../sql/mysql/names.ts'

const queues = (T: QueueTables): string => `
create table if not exists ${T.queue} (
  id int unsigned not null auto_increment primary key,
  name varbinary(255) not null,
  unique key mersal_queue_name (name)
) ${END}`

const subscriptions = (T: QueueTables): string => `
create table if not exists ${T.subscription} (
  topic varbinary(255) not null,
  queue int unsigned not null,
  primary key (topic, queue),
  key mersal_queue_subscription_queue (queue)
) ${END}`

const message = `
  id varbinary(255) not null,
  type varbinary(255) not null,
  partition_key varbinary(255) null,
  headers longblob not null,
  body longblob not null,
  bytes bigint unsigned generated always as
    (length(body) + length(headers) + length(type) + length(id)) stored`

/**
 * Messages that nobody has acknowledged yet. A row may be taken by whoever comes after `visible_at`;
 * the token fences a former holder. Of a key, only the first row of a queue can be taken: the
 * others have a time that never comes, and each gets its own `due_at` as soon as it is the first.
 */
const messages = (T: QueueTables): string => `
create table if not exists ${T.message} (
  position bigint unsigned not null auto_increment primary key,
  queue int unsigned not null,
  visible_at datetime(6) not null,
  due_at datetime(6) not null,
  token ${ascii('char(36)')} null,
  attempts int not null default 0,
  postponed_since bigint null,
  dead_reason varbinary(255) null,
  dead_error longblob null,
  ${message},
  key mersal_queue_message_due (queue, visible_at, position),
  key mersal_queue_message_key (queue, partition_key, position)
) ${END}`

/** Messages that their consumers have given up. */
const dead = (T: QueueTables): string => `
create table if not exists ${T.dead} (
  number bigint unsigned not null auto_increment primary key,
  queue int unsigned not null,
  reason varbinary(255) not null,
  error longblob not null,
  died_at datetime(6) not null,
  attempts int not null,
  ${message},
  key mersal_queue_dead_queue (queue, number)
) ${END}`

/** The tables of the queue in this database. */
export function queueTables(database: string): MysqlTables {
  const T = queueTablesIn(database)
  const statements = [queues(T), subscriptions(T), messages(T), dead(T), ...keyLockTable(T.keyLock)]
  const steps = [{ version: 1, name: 'tables', statements }]
  return { name: 'mysql queue', place: `in database '${database}'`, database, steps }
}

/**
 * Everything as plain SQL, for those who run migrations with tools of their own. `from`: the
 * version that is already there. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function mysqlQueueMigrationSql(options: {
  readonly schema: string
  readonly from?: number
}): string {
  const { schema, from } = checkMigrationSql('mysqlQueueMigrationSql()', options)
  return migrationSql(queueTables(schema), from)
}
