import { quoteIdentifier } from '../../../sql/identifiers.ts'
import { lockClass, lockNumber } from '../../../sql/postgres/locks.ts'
import { type Statement, statement, types } from '../../../sql/postgres/unit/flight/wire.ts'
import { durable, freshSnapshots } from '../statements/saving-statements.ts'

/**
 * What a unit sends in the flight of its commit, as bytes: plain inserts, and the locks of keys as a
 * statement of their own in front of them. So the insert has a snapshot that is younger than the
 * locks (READ COMMITTED), without a function. Only what may be born claimed returns rows.
 */
export interface LastStatements {
  /** One message. */
  readonly one: Statement
  readonly oneKeyed: Statement
  readonly oneExpress: Statement
  readonly oneKeyedExpress: Statement
  /** Several of one type to one destination, without delays. */
  readonly same: Statement
  readonly sameExpress: Statement
  readonly many: Statement
  readonly manyExpress: Statement
  readonly lock: Statement
  /** Before an insert that looks for open rows of a key. */
  readonly lockToLook: Statement
  readonly locks: Statement
  readonly locksToLook: Statement
}

const COLUMNS = 'type, transport, kind, name, id, headers, body'
const SAVED = 'position::text as position, token is not null as born'

const later = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds} * interval '1 millisecond'`

/** When its delay ends; null without one. */
const dueAt = (milliseconds: string): string =>
  `case when ${milliseconds} > 0 then ${later(milliseconds)} end`

/** No other row of this key is open. */
const first = (S: string, key: string): string =>
  `${freshSnapshots} and not exists (select from ${S}.outbox o where o.key = ${key})`

/** $1 type, $2 to $4 destination, $5 id, $6 headers, $7 body, $8 delay or grace in milliseconds. */
const one = (S: string): string =>
  `insert into ${S}.outbox (${COLUMNS}, visible_at, due_at) values ($1, $2, $3, $4, $5, $6, $7, ${later('$8')}, ${dueAt('$8')})`

/** $9 key. */
const oneKeyed = (S: string): string =>
  `insert into ${S}.outbox (${COLUMNS}, visible_at, due_at, key) values ($1, $2, $3, $4, $5, $6, $7, ${later('$8')}, ${dueAt('$8')}, $9)`

/** $9 token. */
const oneExpress = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, token)
values ($1, $2, $3, $4, $5, $6, $7, case when ${durable} then ${later('$8')} else clock_timestamp() end, case when ${durable} then $9::uuid end)
returning ${SAVED}`

/** $9 key, $10 token. */
const oneKeyedExpress = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, key, token)
select $1, $2, $3, $4, $5, $6, $7, case when e.born then ${later('$8')} else clock_timestamp() end, $9, case when e.born then $10::uuid end
from (select ${durable} and ${first(S, '$9')} as born offset 0) e
returning ${SAVED}`

/** $1 type, $2 to $4 destination, $5 ids, $6 headers, $7 bodies, $8 keys. */
const same = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, key)
select $1, $2, $3, $4, r.id, r.headers, r.body, clock_timestamp(), r.key
from unnest($5::uuid[], $6::text[], $7::bytea[], $8::text[]) as r(id, headers, body, key)`

/** Whether each row is born claimed: all is known before any position is drawn. */
const judged = (S: string, given: string, may: string): string => `(
  select r.*, e.durable and ${may}(r.key is null or (${first(S, 'r.key')})) as born
  from (select ${durable} as durable offset 0) e cross join ${given} offset 0
) r`

/** $9 grace in milliseconds, $10 token. */
const sameExpress = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, key, token)
select $1, $2, $3, $4, r.id, r.headers, r.body, case when r.born then ${later('$9')} else clock_timestamp() end, r.key, case when r.born then $10::uuid end
from ${judged(S, 'unnest($5::uuid[], $6::text[], $7::bytea[], $8::text[]) as r(id, headers, body, key)', '')}
returning ${SAVED}`

/** $1 types, $2 to $4 destinations, $5 ids, $6 headers, $7 bodies, $8 keys, $9 delays in ms. */
const many = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, due_at, key)
select r.type, r.transport, r.kind, r.name, r.id, r.headers, r.body, ${later('r.delay')}, ${dueAt('r.delay')}, r.key
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bytea[], $8::text[], $9::float8[])
  as r(type, transport, kind, name, id, headers, body, key, delay)`

/** $10 whether each may be born claimed, $11 grace in milliseconds, $12 token. */
const manyExpress = (S: string): string => `
insert into ${S}.outbox (${COLUMNS}, visible_at, due_at, key, token)
select r.type, r.transport, r.kind, r.name, r.id, r.headers, r.body,
  case when r.born then ${later('$11')} else ${later('r.delay')} end, ${dueAt('r.delay')}, r.key, case when r.born then $12::uuid end
from ${judged(
  S,
  'unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bytea[], $8::text[], $9::float8[], $10::boolean[]) as r(type, transport, kind, name, id, headers, body, key, delay, may)',
  'r.may and ',
)}
returning ${SAVED}`

/**
 * A plan that was made while the table was empty would read all of it later, for every row that
 * looks for its key. Until the end of the transaction, which follows at once.
 */
const LOOKING = `pg_catalog.set_config('enable_seqscan', 'off', true), `

/** $1 key. */
const lock = (schema: string, before: string): string =>
  `select ${before}pg_catalog.pg_advisory_xact_lock(${lockClass(schema)}, ${lockNumber('$1')})`

/** $1 keys. In the order of the locks, so that two writers never wait for each other in a circle. */
const locks = (schema: string, before: string): string => `
select ${before}max(pg_catalog.pg_advisory_xact_lock(${lockClass(schema)}, x.bucket)::text)
from (select distinct ${lockNumber('k')} as bucket from unnest($1::text[]) k where k is not null order by 1 offset 0) x`

const { text, uuid, bytea, float8, texts, uuids, byteas, float8s, booleans } = types
const ONE = [text, text, text, text, uuid, text, bytea, float8]
const SAME = [text, text, text, text, uuids, texts, byteas, texts]
const MANY = [texts, texts, texts, texts, uuids, texts, byteas, texts, float8s]

/** `named`: the server may keep them under a name. */
export function lastStatements(schema: string, named: boolean): LastStatements {
  const S = quoteIdentifier(schema)
  const made = (sql: string, parameters: readonly number[]): Statement =>
    statement(sql.trim(), { named, parameters })
  return {
    one: made(one(S), ONE),
    oneKeyed: made(oneKeyed(S), [...ONE, text]),
    oneExpress: made(oneExpress(S), [...ONE, uuid]),
    oneKeyedExpress: made(oneKeyedExpress(S), [...ONE, text, uuid]),
    same: made(same(S), SAME),
    sameExpress: made(sameExpress(S), [...SAME, float8, uuid]),
    many: made(many(S), MANY),
    manyExpress: made(manyExpress(S), [...MANY, booleans, float8, uuid]),
    lock: made(lock(schema, ''), [text]),
    lockToLook: made(lock(schema, LOOKING), [text]),
    locks: made(locks(schema, ''), [texts]),
    locksToLook: made(locks(schema, LOOKING), [texts]),
  }
}

/** As `lastStatements`, by what `prepares` says when they are asked for. */
export function lastStatementsOf(schema: string, prepares: () => boolean): () => LastStatements {
  const named = lastStatements(schema, true)
  const plain = lastStatements(schema, false)
  return () => (prepares() ? named : plain)
}
