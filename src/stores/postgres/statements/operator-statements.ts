import type { KeptFilter } from '../../../core/operations.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import {
  bothEnds,
  type KeptConditions,
  type KeptWhere,
  keptWhere,
  MOST_ROWS_READ,
} from '../../../sql/shared/operator-tools.ts'

/** What tools of operators run; the statements of the running system are in `statements.ts`. */
export interface OperatorStatements {
  readonly counts: string
  readonly destinations: string
  /** $1 most keys. */
  readonly keys: string
  readonly pauses: string
  /** $1 kind, $2 name, $3 reason. */
  readonly pause: string
  /** $1 kind, $2 name. */
  readonly resume: string
  readonly countKept: (filter: KeptFilter) => KeptWhere
  /** Locks the rows that are to be moved. */
  readonly pickKept: (filter: KeptFilter, limit: number) => KeptWhere
  /** $1 keys. */
  readonly lockKeys: string
  /** $1 tables, $2 places in them, $3 whether the ids are new. */
  readonly moveKept: string
  /** $1 most names. */
  readonly consumers: string
  /** $1 id, $2 consumer. */
  readonly trace: string
  /** $1 behind this position, $2 most rows. */
  readonly refused: string
  readonly server: string
  /** $1 schema. */
  readonly privileges: string
}

const age = (column: string, condition: string): string =>
  `coalesce(extract(epoch from statement_timestamp() - min(${column}) filter (where ${condition} and isfinite(${column}))) * 1000, 0)::float8::text`

const open = 'o.died_at is null'
const due = `${open} and o.visible_at <= statement_timestamp()`
/** A row that a relay could take: neither paused nor behind another one of its key. */
const free = (S: string): string => `${due}
    and (o.key is null or o.position = (select min(h.position) from ${S}.outbox h where h.key = o.key))
    and (o.key is null or o.key <> all (array(select p.name from ${S}.pause p where p.kind = 'key')))
    and left(o.transport, 200) || '/' || o.kind || '/' || left(o.name, 200) <> all (array(select p.name from ${S}.pause p where p.kind = 'destination'))`
const refused = `${open} and o.attempts > 0 and o.token is null`
const numbers = (S: string): string => `
  count(*) filter (where ${open})::text as pending,
  count(*) filter (where ${due})::text as due,
  count(*) filter (where ${open} and o.token is not null and o.visible_at > statement_timestamp())::text as claimed,
  ${age('o.visible_at', due)} as oldest_due_ms,
  ${age('o.visible_at', free(S))} as waiting_ms,
  count(*) filter (where ${refused})::text as refused,
  nullif(max(o.error) filter (where ${refused}), '') as last_error,
  ${age('o.added_at', open)} as oldest_ms`

const read = (S: string): string =>
  bothEnds(
    `${S}.outbox`,
    'r.position, r.key, r.transport, r.kind, r.name, r.visible_at, r.token, r.attempts, r.error, r.added_at, r.died_at',
  )
/** As the statistics say; they are gone after a crash, until the next analyze. */
const estimate = (table: string): string =>
  `(select coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), c.reltuples::bigint) from pg_catalog.pg_class c where c.oid = '${table}'::regclass)`
const letters = (S: string): string =>
  `(select l.transport, l.kind, l.name from ${S}.dead l order by l.position desc limit ${MOST_ROWS_READ + 1})`
const lettersIn = (S: string): string =>
  `(select case when count(*) > ${MOST_ROWS_READ} then greatest(count(*), ${estimate(`${S}.dead`)}) else count(*) end from ${letters(S)} l)`

/** The sequence may be kept from the role; then nobody knows how many messages there ever were. */
const counts = (S: string): string => `
select ${numbers(S)}, count(*)::text as rows_read,
  case when count(*) > ${MOST_ROWS_READ} then ${estimate(`${S}.outbox`)} end::text as all_rows,
  (count(*) filter (where o.died_at is not null) + ${lettersIn(S)})::text as dead,
  (select sum(greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0))::bigint from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = '${S}.sent'::regclass)::text as kept,
  (select case when has_sequence_privilege(q.s, 'USAGE, SELECT') then coalesce(pg_sequence_last_value(q.s), 0) end
    from (select pg_get_serial_sequence('${S}.outbox', 'position')::regclass as s) q)::text as added
from ${read(S)} o`

/** No name is longer, but somebody may have written one. */
const place = `left(transport, 200) || '/' || kind || '/' || left(name, 200)`

const destinations = (S: string): string => `
select coalesce(o.place, d.place) as destination, o.*, (coalesce(o.blocking, 0) + coalesce(d.moved, 0))::text as dead
from (select ${place} as place, ${numbers(S)}, count(*) filter (where o.died_at is not null) as blocking from ${read(S)} o group by 1) o
full join (select ${place} as place, count(*) as moved from ${letters(S)} l group by 1) d
  on d.place = o.place
order by 1`

const keys = (S: string): string => `
select o.key, count(*) filter (where ${open})::text as pending, ${age('o.added_at', open)} as oldest_ms, bool_or(o.died_at is not null) as blocked
from ${read(S)} o where o.key is not null group by o.key
order by bool_or(o.died_at is not null) desc, min(o.added_at) limit $1::integer`

const columns = 'id, key, type, transport, kind, name, headers, body, added_at'

const conditions: KeptConditions = {
  since: 's.sent_at >= to_timestamp(?::float8 / 1000)',
  until: 's.sent_at < to_timestamp(?::float8 / 1000)',
  type: 's.type = ?::text',
  partitionKey: 's.key = ?::text',
  destination: `s.transport || '/' || s.kind || '/' || s.name = ?::text`,
  id: 's.id = ?::uuid',
}

/** The planner leaves out whole partitions. */
const where = (filter: KeptFilter): KeptWhere =>
  keptWhere(filter, conditions, (number) => `$${number}`)

const trace = (S: string): string => `
select (select case when o.died_at is not null then 'dead'
      when o.token is not null and o.visible_at > statement_timestamp() then 'sending' else 'waiting' end
    from ${S}.outbox o where o.id = $1::text::uuid order by o.position limit 1) as place,
  exists (select from ${S}.dead d where d.id = $1::text::uuid) as dead,
  exists (select from ${S}.inbox i where i.consumer = $2::text and i.message_id = $1::text) as handled`

/** Also those that are in hand once more. */
const refusedRows = (S: string): string => `
select o.position::text, o.id, left(o.type, 200) as type, left(o.transport, 200) as transport, o.kind, left(o.name, 200) as name, o.key as partition_key,
  o.attempts, o.history, (case when isfinite(o.visible_at) then extract(epoch from o.visible_at) * 1000 else 0 end)::float8::text as due_at
from ${S}.outbox o where o.position > $1::bigint and ${open} and o.attempts > 0 and (o.history is not null or o.token is null)
order by o.position limit $2::integer`

export function operatorStatements(schema: string): OperatorStatements {
  const S = quoteIdentifier(schema)
  return {
    counts: counts(S),
    destinations: destinations(S),
    keys: keys(S),
    pauses: `select p.kind, p.name, p.reason, (extract(epoch from p.paused_at) * 1000)::float8::text as since from ${S}.pause p order by p.kind, p.name`,
    pause: `
insert into ${S}.pause as p (kind, name, reason) values ($1::text, $2::text, $3::text)
on conflict (kind, name) do update set reason = excluded.reason returning (p.xmax = 0) as added`,
    resume: `delete from ${S}.pause where kind = $1::text and name = $2::text`,
    countKept: (filter) => {
      const { text, values } = where(filter)
      return { text: `select count(*)::text as count from ${S}.sent s where ${text}`, values }
    },
    pickKept: (filter, limit) => {
      const { text, values } = where(filter)
      const pick = `select s.tableoid::text as place, s.ctid::text as row, s.key from ${S}.sent s where ${text} order by s.position limit ${Math.trunc(limit)} for update`
      return { text: pick, values }
    },
    lockKeys: `select ${S}.lock_keys($1::text[])`,
    moveKept: `
with gone as (
  delete from ${S}.sent s using unnest($1::oid[], $2::tid[]) u(place, row)
  where s.tableoid = u.place and s.ctid = u.row
  returning s.*
)
insert into ${S}.outbox (${columns})
select case when $3::boolean then ${S}.uuidv7() else g.id end, ${columns.replace('id, ', '').replaceAll(/(\w+)/g, 'g.$1')} from gone g order by g.position`,
    // From one name to the next by the index of the primary key, however many records there are.
    consumers: `
with recursive c(name) as (
  (select i.consumer from ${S}.inbox i order by i.consumer limit 1)
  union all
  select (select i.consumer from ${S}.inbox i where i.consumer > c.name order by i.consumer limit 1) from c where c.name is not null
)
select c.name from c where c.name is not null limit $1::integer`,
    trace: trace(S),
    refused: refusedRows(S),
    server: `
select current_setting('server_version_num')::text as version, current_setting('server_version') as version_name,
  pg_is_in_recovery() as standby, current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync,
  current_setting('full_page_writes') as full_page_writes, (extract(epoch from clock_timestamp()) * 1000)::float8::text as now,
  current_setting('max_connections') as max_connections,
  (select count(*) from pg_stat_activity where backend_type = 'client backend')::text as connections`,
    privileges: `
select c.relname as name,
  array_to_string(array[
    case when not has_table_privilege(c.oid, 'SELECT') then 'select' end,
    case when not has_table_privilege(c.oid, 'INSERT') then 'insert' end,
    case when not has_table_privilege(c.oid, 'UPDATE') then 'update' end,
    case when not has_table_privilege(c.oid, 'DELETE') then 'delete' end
  ], ' ') as missing,
  pg_has_role(c.relowner, 'USAGE') as owned, current_user::text as role
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::text and c.relname in ('outbox', 'dead', 'sent', 'inbox', 'pause', 'migration') order by 1`,
  }
}
