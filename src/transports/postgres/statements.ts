import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { quoteIdentifier } from '../../sql/identifiers.ts'
import { proof } from '../../sql/postgres/unit/proof.ts'

/** Every statement on the tables of one schema. The tables themselves are in `schema.ts`. */
export interface QueueStatements {
  readonly declare: string
  readonly find: string
  readonly subscribe: string
  readonly unsubscribe: string
  readonly topics: string
  readonly lockQueues: readonly string[]
  /** $1 name. */
  readonly inUse: string
  /** $1 number of the queue. */
  readonly removeQueue: readonly string[]
  readonly put: string
  readonly putWithin: string
  readonly putOne: string
  readonly end: string
  readonly stretch: string
  readonly takeFrom: string
  readonly takeThese: string
  readonly renew: string
  readonly ack: string
  readonly retry: string
  readonly aside: string
  readonly release: string
  readonly reject: string
  readonly deadList: string
  readonly deadRetry: string
  readonly deadDiscard: string
  readonly overview: string
}

/**
 * How large a row is. The lengths are known without reading the values. (A key fits into its
 * index.)
 */
const bytesOf = (row: string): string =>
  `(${['body', 'headers', 'type', 'id'].map((name) => `octet_length(${row}.${name})::bigint`).join(' + ')})`

/**
 * The content of `row`, which has a column `bytes`: cut or empty if that is larger than `most`, and
 * else whole.
 */
const shown = (row: string, most: string): string => {
  const large = `case when ${row}.bytes > ${most}`
  const short = (name: string): string =>
    `${large} then left(${row}.${name}, 200) else ${row}.${name} end as ${name}`
  return `${short('id')}, ${short('type')}, ${large} then '{}' else ${row}.headers end as headers, ${large} then ''::bytea else ${row}.body end as body,
  ${large} then ${row}.bytes end::text as withheld_bytes`
}

/**
 * $1 queue, $2 most rows, $3 hold time in ms, $4 token, $5 most bytes, $6 which positions, $7 bytes
 * of the largest row that is read, $8 the first position that is left out, where $6 is the first.
 *
 * Of a key only the first row is looked at twice: who inserts holds the lock of the key until the
 * commit, so that a row is never seen without those before it. It is looked up in the order of the
 * index of keys: by position alone, the planner could walk over the whole queue where one key has
 * most of the rows.
 */
const take = (S: string, which: string, order: string): string => `
with c as materialized (
  select m.position, ${bytesOf('m')} as bytes
  from ${S}.queue_message m
  left join lateral (
    select h.position from ${S}.queue_message h
    where h.key is not null and (h.queue, h.key, h.position) >= (m.queue, m.key, (-9223372036854775808)::bigint)
    order by h.queue, h.key, h.position limit 1
  ) h on true
  where m.queue = $1::integer and m.position ${which} and m.visible_at <= statement_timestamp() and (m.key is null or h.position = m.position)
  ${order} limit $2::integer
  for update of m skip locked
),
fits as materialized (
  select s.position, sum(s.bytes) over (order by s.position) - s.bytes as before
  from (select c.position, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c) s
),
t as (
update ${S}.queue_message m
set visible_at = statement_timestamp() + $3::float8 * interval '1 millisecond',
  token = $4::uuid,
  attempts = least(greatest(m.attempts, 0), 1000000) + 1
where m.queue = $1::integer and m.position = any (array(select f.position from fits f where f.before < $5::bigint))
returning m.position, m.attempts, m.id, m.type, m.headers, m.body, ${bytesOf('m')} as bytes,
  m.postponed_since, m.dead_reason, m.dead_error
)
select t.position::text, t.attempts, t.bytes::text as bytes,
  t.postponed_since::text, t.dead_reason, t.dead_error, ${shown('t', '$7::bigint')} from t`

/** $1 queue, $2 positions, $3 tokens, and what else is named. */
const given = (more = '', names = ''): string =>
  `unnest($2::bigint[], $3::uuid[]${more}) as u(position, token${names}) where m.queue = $1::integer and m.position = u.position and m.token = u.token`

/** Of those that have gone, the next ones of their keys. */
const next = (S: string): string => `
select n.position::text from gone g cross join lateral (
  select h.position from ${S}.queue_message h where h.queue = $1::integer and h.key = g.key and h.position > g.position order by h.position limit 1
) n`

const reject = (S: string): string => `
with gone as (
  delete from ${S}.queue_message m using ${given(', $4::text[], $5::text[]', ', reason, error')}
  returning m.*, u.reason, u.error
),
buried as (insert into ${S}.queue_dead (queue, reason, error, attempts, id, type, key, headers, body)
select g.queue, g.reason, g.error, g.attempts, g.id, g.type, g.key, g.headers, g.body from gone g order by g.position)
${next(S)}`

/**
 * $1 id, $2 key, $3 delay in ms, $4 type, $5 kind and $6 name of the destination, $7 headers, $8
 * body, $9 name of the transport, $10 and $11 those of `proof`.
 *
 * One message straight into its queues, for a third of what the function for many costs the server.
 * No row: ask that function why. The lock of the key must come before the position and must not
 * depend on anything that the planner may know to be false: hence a sub-select of its own (offset
 * 0).
 */
const putOne = (S: string): string => `
with ours as materialized (select ${proof('$10', '$11')} as proven)
insert into ${S}.queue_message (queue, visible_at, id, type, key, headers, body)
select t.queue, clock_timestamp() + $3::float8 * interval '1 millisecond', $1::text, $4::text, $2::text, $7::text, $8::bytea
from (select case when $2::text is null then true else ${S}.queue_key_free($2::text) end as free from ours where proven offset 0) k
cross join lateral (
  select q.id as queue from ${S}.queue q where $5::text = 'queue' and q.name = $6::text
  union all
  select s.queue from ${S}.queue_subscription s where $5::text = 'topic' and s.topic = $6::text
) t
where k.free and not exists (
  select from ${S}.pause p where (p.kind = 'key' and p.name = $2::text)
    or (p.kind = 'destination' and p.name = $9::text || '/' || $5::text || '/' || $6::text)
)
returning queue::text as queue, pg_catalog.pg_current_xact_id()::text as xact`

function topologyStatements(
  S: string,
): Pick<
  QueueStatements,
  | 'declare'
  | 'find'
  | 'subscribe'
  | 'unsubscribe'
  | 'topics'
  | 'lockQueues'
  | 'inUse'
  | 'removeQueue'
  | 'overview'
> {
  return {
    declare: `insert into ${S}.queue (id, name) overriding system value values ($2::integer, $1::text) on conflict do nothing`,
    find: `select id from ${S}.queue where name = $1::text`,
    subscribe: `insert into ${S}.queue_subscription (topic, queue) select t, $2::integer from unnest($1::text[]) t on conflict do nothing`,
    unsubscribe: `delete from ${S}.queue_subscription where topic = any ($1::text[]) and queue = $2::integer`,
    topics: `select s.topic from ${S}.queue q join ${S}.queue_subscription s on s.queue = q.id where q.name = $1::text order by s.topic`,
    lockQueues: [
      `set local lock_timeout = '500ms'`,
      `lock table ${S}.queue, ${S}.queue_subscription in access exclusive mode`,
    ],
    inUse: `
select q.id, exists (select from ${S}.queue_message m where m.queue = q.id) as waiting,
  exists (select from ${S}.queue_dead d where d.queue = q.id) as dead
from ${S}.queue q where q.name = $1::text`,
    removeQueue: [
      `delete from ${S}.queue_subscription where queue = $1::integer`,
      `delete from ${S}.queue where id = $1::integer`,
    ],
    overview: `
select q.name as queue, coalesce(d.count, 0)::text as dead, coalesce(m.count, 0)::text as waiting
from ${S}.queue q
left join (select queue, count(*) from ${S}.queue_dead group by 1) d on d.queue = q.id
left join (select queue, count(*) from ${S}.queue_message group by 1) m on m.queue = q.id
order by 1`,
  }
}

function puttingStatements(S: string): Pick<QueueStatements, 'put' | 'putWithin' | 'putOne'> {
  return {
    put: `select p.answer, p.queue_ids as queues from ${S}.queue_put($1::text, $2::bytea, $3::text, $4::boolean, $5::boolean) p`,
    // Called for each row of `ours`, which is none if nothing is proven.
    putWithin: `
with ours as materialized (select ${proof('$6', '$7')} as proven)
select p.answer, p.queue_ids as queues, p.transaction_id as xact
from (select $4::boolean as straight from ours where proven offset 0) o
cross join lateral ${S}.queue_put($1::text, $2::bytea, $3::text, o.straight, $5::boolean) p`,
    putOne: putOne(S),
  }
}

function takingStatements(
  S: string,
): Pick<QueueStatements, 'end' | 'stretch' | 'takeFrom' | 'takeThese' | 'renew'> {
  return {
    end: `select coalesce(max(e.position), 0)::text as end, null as up_to from ${S}.queue_message e where e.queue = $1::integer`,
    // $1 queue, $2 first position, $3 rows: the first position behind them, if there is one.
    stretch: `
select coalesce(max(e.position), 0)::text as end, (
  select m.position::text from ${S}.queue_message m
  where m.queue = $1::integer and m.position >= $2::bigint order by m.position offset $3::integer limit 1
) as up_to
from ${S}.queue_message e where e.queue = $1::integer`,
    takeFrom: take(S, '>= $6::bigint and m.position < $8::bigint', 'order by m.position'),
    takeThese: take(S, '= any ($6::bigint[])', ''),
    renew: `
update ${S}.queue_message m set visible_at = clock_timestamp() + $4::float8 * interval '1 millisecond'
from ${given()} returning m.position::text`,
  }
}

function settlingStatements(
  S: string,
): Pick<QueueStatements, 'ack' | 'retry' | 'aside' | 'release' | 'reject'> {
  return {
    ack: `with gone as (delete from ${S}.queue_message m using ${given()} returning m.key, m.position) ${next(S)}`,
    retry: `
update ${S}.queue_message m set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null,
  postponed_since = coalesce(u.since, m.postponed_since),
  attempts = case when u.since is null then m.attempts else greatest(m.attempts - 1, 0) end
from ${given(', $4::float8[], $5::bigint[]', ', delay, since')}`,
    aside: `
update ${S}.queue_message m set visible_at = clock_timestamp() + u.delay * interval '1 millisecond', token = null,
  attempts = greatest(m.attempts - 1, 0), dead_reason = u.reason, dead_error = u.error
from ${given(', $4::float8[], $5::text[], $6::text[]', ', delay, reason, error')}`,
    release: `
update ${S}.queue_message m set visible_at = clock_timestamp(), token = null, attempts = greatest(m.attempts - 1, 0)
from ${given()}`,
    reject: reject(S),
  }
}

function deadStatements(
  S: string,
): Pick<QueueStatements, 'deadList' | 'deadRetry' | 'deadDiscard'> {
  return {
    deadList: `
select d.number::text as key, q.name as queue, d.reason, d.error, d.attempts, d.key as partition_key,
  ${shown('d', String(LARGEST_ROW_BYTES))},
  case when isfinite(d.died_at) then extract(epoch from d.died_at) * 1000 else 0 end::float8::text as died_at
from (
  select r.*, sum(case when r.bytes > ${LARGEST_ROW_BYTES} then 0 else r.bytes end) over (order by r.number) - r.bytes as before
  from (select e.*, ${bytesOf('e')} as bytes from ${S}.queue_dead e where e.number > $2::bigint
    and ($3::text is null or e.queue = (select n.id from ${S}.queue n where n.name = $3::text)) order by e.number limit $1::integer) r
) d join ${S}.queue q on q.id = d.queue
where d.before < ${CLAIM_BYTES} order by d.number`,
    deadRetry: `select r.retried, r.queue_ids from ${S}.queue_dead_retry($1::bigint[]) r`,
    deadDiscard: `delete from ${S}.queue_dead where number = any ($1::bigint[])`,
  }
}

export function queueStatements(schema: string): QueueStatements {
  const S = quoteIdentifier(schema)
  return {
    ...topologyStatements(S),
    ...puttingStatements(S),
    ...takingStatements(S),
    ...settlingStatements(S),
    ...deadStatements(S),
  }
}
