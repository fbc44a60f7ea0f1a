import { markStatement, proof } from '../../../sql/postgres/unit/proof.ts'

/** The commit will be flushed before it is answered. */
export const durable = `current_setting('synchronous_commit') in ('on', 'remote_apply')`

/** A later statement of the same transaction has a snapshot of its own. */
export const freshSnapshots = `current_setting('transaction_isolation') = 'read committed'`

/** One word each, in lower case: what turns names of columns into others leaves them alone. */
const saved =
  'position::text as position, token is not null as born, pg_catalog.pg_current_xact_id()::text as xact'

/**
 * A statement has two forms. The proven one has two parameters more, a mark and whether nothing
 * else counts, and stores nothing unless it runs in the transaction that they mean: see `proof`.
 * The condition is asked once, before all else.
 */
interface Form {
  /** Number of the last parameter of the plain form. */
  readonly after: number
  readonly proven: boolean
}

const ours = ({ after, proven }: Form, more = false): string =>
  proven
    ? `with ours as materialized (select ${proof(`$${after + 1}`, `$${after + 2}`)} as proven)${more ? ',' : ''}`
    : more
      ? 'with'
      : ''
/** When its delay ends; null without one. */
const dueAt = (delay: string): string =>
  `case when ${delay} > 0 then clock_timestamp() + ${delay} * interval '1 millisecond' end`
const fromOurs = ({ proven }: Form): string => (proven ? ' from ours where proven' : '')

/**
 * $1 id, $2 token for the express lane, $3 its grace and $4 the delay in ms, $5 type, $6 to $8
 * destination, $9 headers, $10 body.
 */
const saveOne = (S: string, proven: boolean): string => `${ours({ after: 10, proven })}
insert into ${S}.outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, ${dueAt('$4::float8')}
from (select case when $2::uuid is null or $4::float8 <> 0 then false else ${durable} end as born${fromOurs({ after: 10, proven })} offset 0) e
returning ${saved}`

/**
 * As `saveOne`; $11 key. The lock of the key must come before the position and must not depend on
 * anything that the planner may know to be false: hence a sub-select of its own (offset 0) with
 * nothing else in it.
 */
const saveOneKeyed = (S: string, proven: boolean): string => `${ours({ after: 11, proven })}
insert into ${S}.outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select $1::uuid, $11::text, clock_timestamp() + case when e.born then $3::float8 else $4::float8 end * interval '1 millisecond',
  case when e.born then $2::uuid end, $5::text, $6::text, $7::text, $8::text, $9::text, $10::bytea, ${dueAt('$4::float8')}
from (
  select not k.open and $2::uuid is not null and $4::float8 = 0 and ${freshSnapshots} and ${durable} as born
  from (select ${S}.key_open($11::text) as open${fromOurs({ after: 11, proven })} offset 0) k
) e
returning ${saved}`

/**
 * $1 ids, $2 token for the express lane, $3 its grace in ms, $4 delays in ms, $5 whether the lane
 * may take it, $6 types, $7 to $9 destinations, $10 headers, $11 where each body begins in $13 and
 * $12 how long it is. Arrays are given as text, which every database library passes on unchanged.
 * `more`: further columns and their arrays.
 */
const rows = (more: { readonly column: string; readonly array: string }[] = []): string => {
  const arrays = [
    'uuid',
    'float8',
    'boolean',
    'text',
    'text',
    'text',
    'text',
    'text',
    'integer',
    'integer',
  ]
  const places = [1, 4, 5, 6, 7, 8, 9, 10, 11, 12]
  const given = places.map((place, index) => `$${place}::text::${arrays[index]}[]`)
  const columns = 'id, delay, express, type, transport, kind, name, headers, start, length'
  return `unnest(${[...given, ...more.map(({ array }) => array)].join(', ')}) as r(${[columns, ...more.map(({ column }) => column)].join(', ')})`
}

const visibleAt = (born: string): string =>
  `clock_timestamp() + case when ${born} then $3::float8 else r.delay end * interval '1 millisecond'`

const saveMany = (S: string, proven: boolean): string => `${ours({ after: 13, proven })}
insert into ${S}.outbox (id, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, ${visibleAt('e.born and r.express')}, case when e.born and r.express then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), ${dueAt('r.delay')}
from (select case when $2::uuid is null then false else ${durable} end as born${fromOurs({ after: 13, proven })} offset 0) e
cross join ${rows()}
returning ${saved}`

/**
 * As `saveMany`; $14 the key of each or null, $15 the keys without doubles. First all keys are
 * locked, in the order of their locks. Whether one has open rows is asked afterwards, in a snapshot
 * that is younger than the locks: a volatile function has one of its own. Both come before any
 * position, since a row needs them.
 */
const saveManyKeyed = (S: string, proven: boolean): string => `
${ours({ after: 15, proven }, true)} locked as materialized (
  select ${S}.lock_keys($15::text::text[])::text as done${fromOurs({ after: 15, proven })}
),
lane as materialized (
  select case when $2::uuid is null then false else ${durable} end as durable, ${freshSnapshots} as fresh,
    array(
      select k from unnest($15::text::text[]) k
      where l.done is not null and case when $2::uuid is null then false else ${S}.key_open(k) end
    ) as waiting
  from locked l
)
insert into ${S}.outbox (id, key, visible_at, token, type, transport, kind, name, headers, body, due_at)
select r.id, r.key, ${visibleAt('r.born')}, case when r.born then $2::uuid end,
  r.type, r.transport, r.kind, r.name, r.headers, substring($13::bytea from r.start for r.length), ${dueAt('r.delay')}
from (
  select r.*, e.durable and r.express and (r.key is null or (e.fresh and r.key <> all (e.waiting))) as born
  from lane e cross join ${rows([{ column: 'key', array: '$14::text::text[]' }])} offset 0
) r
returning ${saved}`

export type SavingStatements = Record<
  `${'save' | 'proven'}${'One' | 'OneKeyed' | 'Many' | 'ManyKeyed'}` | 'mark',
  string
>

/** Adds messages to the outbox. Each answers one row for each message, with what became of it. */
export function savingStatements(S: string): SavingStatements {
  return {
    saveOne: saveOne(S, false),
    saveOneKeyed: saveOneKeyed(S, false),
    saveMany: saveMany(S, false),
    saveManyKeyed: saveManyKeyed(S, false),
    mark: markStatement,
    provenOne: saveOne(S, true),
    provenOneKeyed: saveOneKeyed(S, true),
    provenMany: saveMany(S, true),
    provenManyKeyed: saveManyKeyed(S, true),
  }
}
