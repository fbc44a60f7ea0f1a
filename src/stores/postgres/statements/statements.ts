import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../../core/messages/bytes.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import { proof } from '../../../sql/postgres/unit/proof.ts'
import { bytesOf, claim, columns, shown } from './claim-statement.ts'
import { savingStatements, type SavingStatements } from './saving-statements.ts'

/**
 * Every statement on the tables of one schema, one per purpose. The tables themselves are in
 * `schema.ts`.
 */
export interface Statements extends SavingStatements {
  readonly claim: string
  /** As `claim`, with what it leaves alone. */
  readonly claimExcept: string
  /** Only rows of some keys. */
  readonly claimKeys: string
  /** Only the rows at some positions. */
  readonly claimRows: string
  /** $1 most rows. */
  readonly upcoming: string
  /** $1 id, $2 and $3 of the proof. Answers no row where that proves nothing. */
  readonly cancel: string
  readonly sent: string
  readonly sentKept: string
  readonly sentMany: string
  readonly sentManyKept: string
  /** $1 positions, $2 token. */
  readonly attempted: string
  readonly retry: string
  readonly release: string
  readonly renew: string
  readonly deadMove: string
  readonly deadBlock: string
  readonly partitions: string
  readonly dropPartitions: string
  readonly pruneSent: string
  readonly track: string
  readonly trackMany: string
  readonly forget: string
  readonly pruneInbox: string
  readonly deadList: string
  readonly deadRetry: string
  readonly deadDiscard: string
  readonly deadDiscardBlocking: string
  readonly stats: string
}

/**
 * A dead letter with more bytes than this stays where it is: to move it would copy its bytes, which
 * may take longer than the claim of the settlement lasts.
 */
const MOST_MOVED_BYTES = 16 * 1024 * 1024

/**
 * $1 positions, $2 token, $3 reasons, $4 errors, $5 whether the broker may hold it, $6 whether it
 * may be moved although it has a key, $7 what is noted of the attempts.
 */
const deadMove = (S: string): string => `
with given as (
  select * from unnest($1::bigint[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[]) as u(position, reason, error, maybe, skip, noted)
),
gone as (
  delete from ${S}.outbox o using given u
  where o.position = u.position and o.token = $2::uuid and (u.skip or o.key is null) and ${bytesOf('o')} <= ${MOST_MOVED_BYTES}
  returning o.*, u.reason, u.error as last_error, u.maybe, u.noted
)
insert into ${S}.dead (position, ${columns('').replaceAll('.', '')}, added_at, error, died_at, dead_reason, maybe_published, history)
select g.position, ${columns('g')}, g.added_at, g.last_error, clock_timestamp(), g.reason, g.maybe, g.noted from gone g`

/**
 * Parameters as of `deadMove`. The row stays as a dead letter that nobody may take, and so holds
 * back its key. A large one that must not hold back its key moves the key to `dead_key`.
 */
const deadBlock = (S: string): string => `
update ${S}.outbox o
set key = case when u.skip then null else o.key end, dead_key = case when u.skip then o.key end,
  visible_at = 'infinity', due_at = null, token = null, error = u.error, died_at = clock_timestamp(), dead_reason = u.reason, maybe_published = u.maybe, history = u.noted
from unnest($1::bigint[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[]) as u(position, reason, error, maybe, skip, noted)
where o.position = u.position and o.token = $2::uuid
  and ((not u.skip and o.key is not null) or ${bytesOf('o')} > ${MOST_MOVED_BYTES})`

/** $1 positions, $2 the token of each: in the express lane every unit has its own. */
const sentMany = (S: string): string => `
delete from ${S}.outbox o using unnest($1::bigint[], $2::uuid[]) as u(position, token)
where o.position = u.position and o.token = u.token`

/** What the statement deletes goes into the table of kept messages. */
const keeping = (S: string, deleting: string): string => `
with gone as (
  ${deleting}
  returning o.position, o.id, o.key, o.type, o.transport, o.kind, o.name, o.headers, o.body, o.added_at
)
insert into ${S}.sent select g.*, clock_timestamp() from gone g`

const deadColumns = (alias: string, key: string, blocks: string): string =>
  `${alias}.position, ${columns(alias).replace(`${alias}.key`, `${key} as key`)}, coalesce(${alias}.error, '') as error, ${alias}.dead_reason, ${alias}.maybe_published, ${alias}.history, ${blocks} as blocks,
    ${bytesOf(alias)} as bytes, case when isfinite(${alias}.died_at) then extract(epoch from ${alias}.died_at) * 1000 else 0 end as died_ms`

/**
 * $1 most rows, $2 and $3 after this position and letter; -1 is the letter of one that stayed in
 * the outbox. The bytes of one page are bounded, and the bytes of a letter that is too large are
 * not read.
 */
const deadList = (S: string): string => `
select p.position || case when p.letter < 0 then '' else '.' || p.letter end as key, ${shown('p', String(LARGEST_ROW_BYTES))},
  p.error, p.dead_reason as reason, p.maybe_published, p.history, p.blocks, p.died_ms::float8::text as died_at
from (
  select q.*, sum(case when q.bytes > ${LARGEST_ROW_BYTES} then 0 else q.bytes end) over (order by q.position, q.letter) - q.bytes as before
  from (
    (select ${deadColumns('d', 'd.key', 'false')}, d.letter from ${S}.dead d
      where (d.position, d.letter) > ($2::bigint, $3::integer) order by d.position, d.letter limit $1::integer)
    union all
    (select ${deadColumns('o', 'coalesce(o.key, o.dead_key)', 'o.key is not null')}, -1
      from ${S}.outbox o where o.died_at is not null and o.position > $2::bigint order by o.position limit $1::integer)
  ) q
  order by q.position, q.letter limit $1::integer
) p
where p.before < ${CLAIM_BYTES}
order by p.position, p.letter`

const stats = (S: string): string => `
select
  count(*) filter (where o.died_at is null)::text as pending,
  count(*) filter (where o.died_at is null and o.token is not null and o.visible_at > statement_timestamp())::text as claimed,
  ((select count(*) from ${S}.dead) + count(*) filter (where o.died_at is not null))::text as dead,
  coalesce(extract(epoch from statement_timestamp() - min(o.visible_at) filter (
    where o.died_at is null and o.visible_at <= statement_timestamp() and isfinite(o.visible_at))) * 1000, 0)::float8::text as oldest_due_ms
from ${S}.outbox o`

const upcoming = (S: string): string => `
select o.position::text, (extract(epoch from o.due_at - statement_timestamp()) * 1000)::float8::text as in_ms
from ${S}.outbox o where o.due_at > statement_timestamp() order by o.due_at limit $1::integer`

/**
 * A row that was in the hands of a relay has a token, an attempt or an error. One that is just
 * being claimed is waited for, and looked at again.
 */
const cancel = (S: string): string => `
with ours as materialized (select ${proof('$2', '$3')} as proven),
gone as (
  delete from ${S}.outbox o using ours
  where ours.proven and o.id = $1::text::uuid and o.due_at is not null
    and o.attempts = 0 and o.token is null and o.error is null and o.died_at is null
  returning 1
)
select case
    when (select count(*) from ${S}.outbox o where o.id = $1::text::uuid and o.due_at is not null) > (select count(*) from gone) then 'gone'
    when exists (select from gone) then 'cancelled'
    else 'unknown' end as answer,
  case when exists (select from gone) then pg_catalog.pg_current_xact_id()::text end as xact
from ours where proven`

function settlingStatements(
  S: string,
): Pick<
  Statements,
  | 'sent'
  | 'sentKept'
  | 'sentMany'
  | 'sentManyKept'
  | 'attempted'
  | 'retry'
  | 'release'
  | 'renew'
  | 'deadMove'
  | 'deadBlock'
> {
  return {
    sent: `delete from ${S}.outbox where position = any ($1::bigint[]) and token = $2::uuid`,
    sentKept: keeping(
      S,
      `delete from ${S}.outbox o where o.position = any ($1::bigint[]) and o.token = $2::uuid`,
    ),
    sentMany: sentMany(S),
    sentManyKept: keeping(S, sentMany(S)),
    attempted: `
select o.position::text, o.attempts, o.history, (extract(epoch from clock_timestamp()) * 1000)::float8::text as now
from ${S}.outbox o where o.position = any ($1::bigint[]) and o.token = $2::uuid`,
    retry: `
update ${S}.outbox o
set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null, error = u.error, history = u.noted
from unnest($1::bigint[], $3::float8[], $4::text[], $5::text[]) as u(position, delay, error, noted)
where o.position = u.position and o.token = $2::uuid`,
    // The empty text marks what has been in hand, and so waits for no delay of its sender.
    release: `
update ${S}.outbox o
set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null, attempts = greatest(o.attempts - 1, 0),
  error = coalesce(u.error, o.error, '')
from unnest($1::bigint[], $3::float8[], $4::text[]) as u(position, delay, error)
where o.position = u.position and o.token = $2::uuid`,
    // $1 positions, $2 the token of each, $3 milliseconds.
    renew: `
update ${S}.outbox o set visible_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
from unnest($1::bigint[], $2::uuid[]) as u(position, token)
where o.position = u.position and o.token = u.token`,
    deadMove: deadMove(S),
    deadBlock: deadBlock(S),
  }
}

function keptStatements(
  S: string,
): Pick<Statements, 'partitions' | 'dropPartitions' | 'pruneSent'> {
  return {
    partitions: `select ${S}.sent_partitions()`,
    dropPartitions: `select ${S}.sent_drop($1::float8)::text as dropped`,
    pruneSent: `
delete from ${S}.sent s
using (select e.tableoid, e.ctid from ${S}.sent e where e.sent_at < clock_timestamp() - $1::float8 * interval '1 millisecond' limit $2::integer) old
where s.tableoid = old.tableoid and s.ctid = old.ctid`,
  }
}

function inboxStatements(
  S: string,
): Pick<Statements, 'track' | 'trackMany' | 'forget' | 'pruneInbox'> {
  return {
    track: `insert into ${S}.inbox (consumer, message_id) values ($1::text, $2::text) on conflict do nothing returning pg_current_xact_id()::text as xact`,
    // In the order of the ids, so that two of these never wait for each other in a circle.
    trackMany: `
with given as materialized (select id, n from unnest($2::text::text[]) with ordinality u(id, n)),
recorded as (
  insert into ${S}.inbox (consumer, message_id) select $1::text, id from given order by id on conflict do nothing
  returning message_id
)
select n::text, pg_current_xact_id()::text as xact from given join recorded on message_id = id`,
    // Rows of a transaction that was rolled back nobody sees, and those of others have another
    // xmin.
    forget: `delete from ${S}.inbox where consumer = $1::text and message_id = any ($2::text::text[]) and xmin = $3::text::xid8::xid`,
    pruneInbox: `
delete from ${S}.inbox i
using (select e.consumer, e.message_id from ${S}.inbox e
  where e.handled_at < clock_timestamp() - $1::float8 * interval '1 millisecond' order by e.handled_at limit $2::integer) old
where i.consumer = old.consumer and i.message_id = old.message_id`,
  }
}

function deadStatements(
  S: string,
): Pick<Statements, 'deadList' | 'deadRetry' | 'deadDiscard' | 'deadDiscardBlocking'> {
  return {
    deadList: deadList(S),
    deadRetry: `select ${S}.dead_retry($1::bigint[], $2::integer[], $3::bigint[])::text as retried`,
    deadDiscard: `
delete from ${S}.dead d using unnest($1::bigint[], $2::integer[]) as u(position, letter)
where d.position = u.position and d.letter = u.letter`,
    deadDiscardBlocking: `delete from ${S}.outbox where position = any ($1::bigint[]) and died_at is not null`,
  }
}

export function statements(schema: string): Statements {
  const S = quoteIdentifier(schema)
  return {
    ...savingStatements(S),
    claim: claim(S, { except: false }),
    claimExcept: claim(S, { except: true }),
    claimKeys: claim(S, { except: true, keys: true }),
    claimRows: claim(S, { except: true, rows: true }),
    upcoming: upcoming(S),
    cancel: cancel(S),
    ...settlingStatements(S),
    ...keptStatements(S),
    ...inboxStatements(S),
    ...deadStatements(S),
    stats: stats(S),
  }
}
