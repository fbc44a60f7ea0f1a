import type { ClaimRequest } from '../../core/outbox.ts'
import { AROUND_BYTES, bytesOf, microseconds, textOf } from '../../sql/mysql/bytes.ts'
import type { Tables } from '../../sql/mysql/names.ts'
import { type Own, type Query, LIST, listsOf } from '../../sql/mysql/own.ts'
import { type ClaimTerms, claimTerms } from '../../sql/shared/claims.ts'
import type { ClaimedRow } from '../../sql/shared/rows.ts'
import { claimedRow, type RawRow, tokenText } from './encode.ts'
import type { Place } from './place.ts'
import { shown } from './statements/statements.ts'

const DOING = 'claiming messages'

/** A row that is locked by the claim, and may be claimed if its key has no gap. */
interface Candidate {
  readonly position: bigint
  readonly key: string | undefined
  readonly bytes: number
}

/** Which rows a claim looks at. */
interface Part {
  readonly terms: ClaimTerms
  /** The first position behind the stretch. */
  readonly upTo: bigint | undefined
  /** Only these. */
  readonly positions: readonly bigint[] | undefined
}

/**
 * Takes due rows in the order of positions, in one transaction at READ COMMITTED:
 *
 * 1. Locks them, passing over those that others have locked. The first open row of each key must be
 *    due and may go, so that rows which cannot go do not fill the window.
 * 2. Looks for gaps, in a snapshot that is younger than the locks: of each key the first open row
 *    that is not locked here. Only what is before it is claimed.
 * 3. Gives what is claimed a new token, and reads it.
 */
export async function claim(
  place: Place,
  own: Own,
  request: ClaimRequest,
): Promise<readonly ClaimedRow[]> {
  const terms = claimTerms(request, place.facts.packetBytes - AROUND_BYTES)
  const upTo = await endOfStretch(place, own, request, terms)
  const positions =
    terms.keys === undefined
      ? terms.positions
      : await firstRows(place, own, terms.keys, terms.limit)
  const part: Part = { terms, upTo, positions }
  // A look outside of any transaction: an idle outbox costs one statement.
  if (positions?.length === 0 || !(await anyDue(place, own, part))) return []
  return await own.transaction(DOING, async (query) => {
    const locked = await lockDue(query, place.tables, part)
    const free = within(await withoutGaps(query, place.tables, locked), terms)
    await take(query, place.tables, free, terms)
    return await read(query, place.tables, free, terms)
  })
}

async function endOfStretch(
  { tables: T }: Place,
  own: Own,
  { stretch }: ClaimRequest,
  { from }: ClaimTerms,
): Promise<bigint | undefined> {
  if (stretch === undefined) return undefined
  const { rows } = await own.run<{ next: string; last: string }>(
    DOING,
    `select cast(n.position as char) as next, (select cast(max(l.position) as char) from ${T.outbox} l) as last
    from ${T.outbox} n where n.position >= ? order by n.position limit 1 offset ?`,
    [from, stretch.rows],
  )
  const [found] = rows
  if (found === undefined) return undefined
  const next = BigInt(found.next)
  stretch.stopped({ next, last: BigInt(found.last) })
  return next
}

/** The positions of the first rows of these keys. */
async function firstRows(
  { tables: T }: Place,
  own: Own,
  keys: readonly string[],
  limit: number,
): Promise<bigint[]> {
  if (keys.length === 0) return []
  const one = `(select o.position from ${T.outbox} o force index (mersal_outbox_key) where o.partition_key = ? order by o.position limit ${Math.trunc(limit)})`
  const positions: bigint[] = []
  for (const some of listsOf(keys)) {
    const { rows } = await own.run<{ position: string }>(
      DOING,
      `select cast(f.position as char) as position from (${some.map(() => one).join(' union all ')}) f order by f.position limit ${Math.trunc(limit)}`,
      some.map(bytesOf),
    )
    positions.push(...rows.map(({ position }) => BigInt(position)))
  }
  return positions.sort((a, b) => (a < b ? -1 : 1)).slice(0, limit)
}

/** The condition on positions, with its values. */
function where({ terms, upTo, positions }: Part): readonly [string, unknown[]] {
  const parts = ['o.position >= ?', 'o.visible_at <= utc_timestamp(6)']
  const values: unknown[] = [terms.from]
  if (upTo !== undefined) {
    parts.push('o.position < ?')
    values.push(upTo)
  }
  if (positions !== undefined) {
    parts.push('o.position in (?)')
    values.push(positions.slice(0, LIST))
  }
  return [parts.join(' and '), values]
}

async function anyDue({ tables: T }: Place, own: Own, part: Part): Promise<boolean> {
  const [condition, values] = where(part)
  const text = `select 1 as found from ${T.outbox} o force index (primary) where ${condition} limit 1`
  return (await own.run(DOING, text, values)).rows.length > 0
}

const destination = (row: string): string =>
  `concat(${row}.transport, '/', ${row}.kind, '/', ${row}.name)`

/** A subselect about the first open row of the key. */
const head = (T: Tables, what: string): string =>
  `(select ${what} from ${T.outbox} h force index (mersal_outbox_key) where h.partition_key = o.partition_key order by h.position limit 1)`

async function lockDue(query: Query, T: Tables, part: Part): Promise<Candidate[]> {
  const { exceptDestinations, exceptKeys, limit } = part.terms
  const [condition, values] = where(part)
  const parts = [
    condition,
    `(o.partition_key is null or ${head(T, 'h.visible_at')} <= utc_timestamp(6))`,
  ]
  if (exceptDestinations.length > 0) {
    const list = exceptDestinations.map(bytesOf)
    parts.push(`${destination('o')} not in (?)`)
    parts.push(`(o.partition_key is null or ${head(T, destination('h'))} not in (?))`)
    values.push(list, list)
  }
  if (exceptKeys.length > 0) {
    parts.push('(o.partition_key is null or o.partition_key not in (?))')
    values.push(exceptKeys.map(bytesOf))
  }
  const { rows } = await query<{ position: string; partition_key: unknown; bytes: string }>(
    `select cast(o.position as char) as position, o.partition_key, cast(o.bytes as char) as bytes
    from ${T.outbox} o force index (primary) where ${parts.join(' and ')}
    order by o.position limit ${Math.trunc(limit)} for update skip locked`,
    values,
  )
  return rows.map((row) => ({
    position: BigInt(row.position),
    key: row.partition_key === null ? undefined : textOf(row.partition_key),
    bytes: Number(row.bytes),
  }))
}

/** Leaves out rows behind the first open one of their key that is not locked here. */
async function withoutGaps(
  query: Query,
  T: Tables,
  locked: readonly Candidate[],
): Promise<readonly Candidate[]> {
  const keys = [...new Set(locked.flatMap(({ key }) => key ?? []))]
  const last = locked.at(-1)?.position
  if (keys.length === 0 || last === undefined) return locked
  const keyed = locked.filter(({ key }) => key !== undefined)
  const gaps = new Map<string, bigint>()
  for (const some of listsOf(keys)) {
    const names = new Set(some)
    const mine = keyed.flatMap(({ key, position }) => (names.has(key ?? '') ? position : []))
    const { rows } = await query<{ partition_key: unknown; gap: string }>(
      `select e.partition_key, cast(min(e.position) as char) as gap
      from ${T.outbox} e force index (mersal_outbox_key)
      where e.partition_key in (?) and e.position <= ? and e.position not in (?) group by e.partition_key`,
      [some.map(bytesOf), last, mine],
    )
    for (const { partition_key, gap } of rows) gaps.set(textOf(partition_key), BigInt(gap))
  }
  return locked.filter(({ key, position }) => {
    const gap = key === undefined ? undefined : gaps.get(key)
    return gap === undefined || position < gap
  })
}

/** As many as the bytes allow, and one row more. A row that is not read costs nothing. */
function within(
  rows: readonly Candidate[],
  { maxBytes, largestBytes }: ClaimTerms,
): readonly Candidate[] {
  let before = 0
  return rows.filter(({ bytes }) => {
    const fits = before < maxBytes
    before += bytes > largestBytes ? 0 : bytes
    return fits
  })
}

async function take(
  query: Query,
  T: Tables,
  rows: readonly Candidate[],
  { claimMs, token }: ClaimTerms,
): Promise<void> {
  for (const some of listsOf(rows)) {
    await query(
      `update ${T.outbox} o force index (primary)
      set o.visible_at = utc_timestamp(6) + interval ? microsecond, o.token = ?,
        o.attempts = least(greatest(o.attempts, 0), 1000000) + 1
      where o.position in (?)`,
      [microseconds(claimMs), tokenText(token), some.map(({ position }) => position)],
    )
  }
}

async function read(
  query: Query,
  T: Tables,
  rows: readonly Candidate[],
  { largestBytes }: ClaimTerms,
): Promise<ClaimedRow[]> {
  const claimed: ClaimedRow[] = []
  for (const some of listsOf(rows)) {
    const answer = await query<RawRow>(
      `select cast(o.position as char) as position, o.attempts, ${shown('o')}
      from ${T.outbox} o force index (primary) where o.position in (?) order by o.position`,
      [largestBytes, largestBytes, largestBytes, some.map(({ position }) => position)],
    )
    claimed.push(...answer.rows.map(claimedRow))
  }
  return claimed
}
