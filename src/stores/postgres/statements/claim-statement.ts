import { intact } from '../../../sql/postgres/pool/pool.ts'

const names = [
  'id',
  'key',
  'attempts',
  'type',
  'transport',
  'kind',
  'name',
  'headers',
  'body',
] as const

export const columns = (alias: string): string => names.map((name) => `${alias}.${name}`).join(', ')

/**
 * How large a row is. The lengths are known without reading the values. (A key fits into its
 * index.)
 */
export const bytesOf = (row: string): string =>
  `(octet_length(${row}.body)::bigint + ${['headers', 'type', 'transport', 'name'].map((name) => `octet_length(${row}.${name})`).join(' + ')})`

/**
 * The columns of `row`, which has one called `bytes`: without the content if that is larger than
 * `most`.
 */
export function shown(row: string, most: string): string {
  const large = `case when ${row}.bytes > ${most}`
  const short = (name: string): string =>
    `${large} then left(${row}.${name}, 200) else ${row}.${name} end as ${name}`
  return `${row}.id, ${row}.key as partition_key, ${row}.attempts, ${short('type')}, ${short('transport')}, ${row}.kind, ${short('name')},
  ${large} then '{}' else ${row}.headers end as headers, ${large} then ''::bytea else ${row}.body end as body,
  ${large} then ${row}.bytes end::text as withheld_bytes`
}

const destination = (alias: string): string =>
  `${alias}.transport || '/' || ${alias}.kind || '/' || ${alias}.name`

/**
 * The rows of this key, or of this one and greater ones, in the order of the index of keys. An
 * equation of the key with an order by position alone could be planned as a walk over the whole
 * table in that order, where one key has most of the rows; and for a row without a key it would be
 * walked to its end.
 */
const from = (row: string, key: string): string =>
  `${row}.key is not null and (${row}.key, ${row}.position) >= (${key}, (-9223372036854775808)::bigint)`

/** As `from`, for the very first row of a key that has one: the cheaper comparison will do. */
const head = (row: string, key: string): string => `${row}.key is not null and ${row}.key >= ${key}`

/** Rows of this key only. */
const ofKey = (row: string, key: string): string =>
  `${from(row, key)} and (${row}.key, ${row}.position) <= (${key}, 9223372036854775807)`

/**
 * The first rows of each of the keys $10, if the very first of them is due. Of many keys only a few
 * rows each: together twice as many as are wanted.
 */
const earliestOfKeys = (S: string): string =>
  `select p.position from unnest($10::text[]) as k(key) cross join lateral (
      select q.visible_at from ${S}.outbox q where ${ofKey('q', 'k.key')} order by q.key, q.position limit 1
    ) b cross join lateral (
      select q.position from ${S}.outbox q where ${ofKey('q', 'k.key')} order by q.key, q.position
      limit least($1::integer, 1 + 2 * $1::integer / cardinality($10::text[]))
    ) p where b.visible_at <= statement_timestamp() offset 0`

export interface ClaimForm {
  /** $8 destinations and $9 keys are left alone. */
  readonly except: boolean
  /** Only rows of the keys $10. With `except`. */
  readonly keys?: boolean
  /** Only the rows at the positions $10. With `except`. */
  readonly rows?: boolean
}

/**
 * The condition on positions. As an array: with a join, a plan that is not to sort would compare
 * each row of the outbox with each of these.
 */
function these(S: string, { keys, rows }: Pick<Required<ClaimForm>, 'keys' | 'rows'>): string {
  if (keys) return `\n    and o.position = any (array(${earliestOfKeys(S)}))`
  return rows ? '\n    and o.position = any ($10::bigint[])' : ''
}

/**
 * $1 most rows, $2 claim time in ms, $3 token, $4 first position, $5 most bytes, $6 most rows to
 * look at, $7 bytes of the largest row that is read. There are several forms because a plan that is
 * kept would test every row against lists that are nearly always empty.
 *
 * `e` is the first row behind the stretch, and the last one there is. `c` takes due rows in
 * position order. Its head test (the first open row of the key is due and may go) keeps rows that
 * cannot go out of the window. `g` finds for every key the first earlier row that is not in `c`;
 * only rows before that gap are claimed. The order per key rests on `g` alone, wherever the stretch
 * lies; keys of which `c` holds nothing but the first open row, in the same snapshot, can have no
 * gap and are not looked up. A row that is not read costs no bytes.
 */
export const claim = (S: string, { except, keys = false, rows = false }: ClaimForm): string => {
  const mayGo = (row: string): string =>
    except
      ? `and not ${destination(row)} = any ($8::text[]) and (${row}.key is null or ${row}.key <> all ($9::text[]))`
      : ''
  const ofKeys = these(S, { keys, rows })
  return `
with e as materialized (
  select n.next, case when n.next is not null then (select l.position from ${S}.outbox l order by l.position desc limit 1) end as last
  from (select (
    select f.position from ${S}.outbox f
    where $6::integer is not null and f.position >= $4::bigint
    order by f.position offset $6::integer limit 1
  ) as next offset 0) n
),
c as materialized (
  select o.position, o.key, ${bytesOf('o')} as bytes, o.key is null or o.position = h.position as first
  from ${S}.outbox o
  left join lateral (
    select h.position, h.visible_at${except ? `, ${destination('h')} = any ($8::text[]) as closed` : ''}
    from ${S}.outbox h where ${head('h', 'o.key')} order by h.key, h.position limit 1
  ) h on true
  where ${intact}${ofKeys}
    and o.position >= $4::bigint
    and o.position < coalesce((select e.next from e), 9223372036854775807)
    and o.visible_at <= statement_timestamp()
    ${mayGo('o')}
    and (o.key is null or (h.visible_at <= statement_timestamp()${except ? ' and not h.closed' : ''}))
  order by o.position limit $1::integer
  for update of o skip locked
),
g as materialized (
  select k.key, e.position as gap
  from (select key, max(position) as last from c where not first group by key) k
  cross join lateral (
    select e.position from ${S}.outbox e
    where ${from('e', 'k.key')} and (e.key, e.position) < (k.key, k.last) and e.position not in (select position from c)
    order by e.key, e.position limit 1
  ) e
),
sized as materialized (select c.position, c.key, case when c.bytes > $7::bigint then 0 else c.bytes end as bytes from c),
fits as materialized (
  select s.position, s.key, sum(s.bytes) over (order by s.position) - s.bytes as before from sized s
),
t as (
  update ${S}.outbox o
  set visible_at = statement_timestamp() + $2::float8 * interval '1 millisecond',
    token = $3::uuid,
    attempts = least(greatest(o.attempts, 0), 1000000) + 1
  where o.position = any (array(
    select f.position from fits f left join g on g.key = f.key
    where (g.gap is null or f.position < g.gap) and f.before < $5::bigint
  ))
  returning o.position, ${columns('o')}, ${bytesOf('o')} as bytes
)
select e.next::text, e.last::text, t.position::text, ${shown('t', '$7::bigint')} from e left join t on true`
}
