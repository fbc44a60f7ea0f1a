import type { ClockReading, LawfulWaits, StorageClock } from '../../core/storage-clock.ts'
import { quoteIdentifier } from '../../sql/identifiers.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'

/** Rows put right by one statement. */
const MOST_ROWS = 5000

/**
 * Of both ends of the table: what was added last, and what has waited longest, are the first to
 * show it.
 */
const read = (S: string): string => `
select (extract(epoch from n.now) * 1000)::float8::text as now,
  coalesce(extract(epoch from greatest(
    (select o.added_at from ${S}.outbox o where o.died_at is null and isfinite(o.added_at) order by o.position desc limit 1),
    (select o.added_at from ${S}.outbox o where o.died_at is null and isfinite(o.added_at) order by o.position limit 1)
  ) - n.now) * 1000, 0)::float8::text as ahead
from (select clock_timestamp() as now offset 0) n`

/**
 * A row that was in the hands of a relay has a token, an attempt or an error; the delay of any
 * other is its sender's.
 */
export const lawfulWait = (claimMs: string, retryMs: string): string =>
  `case when o.token is not null then ${claimMs}::float8 when o.attempts > 0 or o.error is not null then ${retryMs}::float8 end * interval '1 millisecond'`

const lawfully = `case when o.visible_at > l.now + l.most then l.now + least(l.most, greatest(l.rest, interval '0')) else o.visible_at end`

/**
 * $1 how far the clock was set back, $2 and $3 how long claims and other waits last, in
 * milliseconds; $4 most rows.
 *
 * Only what waits unlawfully long is moved, by $1, to a time between now and the longest lawful
 * one. What no relay has had in hand waits for the delay of its sender, which began when the row
 * was added: if that was later than now, it begins now. Locked rows are being given a time of the
 * new clock, and are passed over.
 */
const recover = (S: string): string => `
with n as materialized (select clock_timestamp() as now),
late as materialized (
  select o.position, n.now, coalesce(${lawfulWait('$2', '$3')}, o.visible_at - o.added_at) as most,
    o.visible_at - n.now - $1::float8 * interval '1 millisecond' as rest
  from ${S}.outbox o cross join n
  where o.died_at is null and isfinite(o.visible_at) and isfinite(o.added_at)
    and (o.added_at > n.now or o.visible_at > n.now + ${lawfulWait('$2', '$3')})
  order by o.position limit $4::integer
  for update of o skip locked
)
update ${S}.outbox o
set added_at = least(o.added_at, l.now),
  visible_at = ${lawfully},
  due_at = case when o.due_at > l.now then ${lawfully} else o.due_at end
from late l where o.position = l.position`

/** The clock of the server, which may be set, and which another server takes over from. */
export function postgresClock(own: Own, schema: string): StorageClock {
  const S = quoteIdentifier(schema)
  const reading = read(S)
  const recovering = recover(S)
  return {
    async read(): Promise<ClockReading> {
      const { rows } = await own.run<{ now: string; ahead: string }>(
        'reading the clock',
        reading,
        [],
        { often: true },
      )
      return { now: Number(rows[0]?.now), ahead: Math.max(0, Number(rows[0]?.ahead)) }
    },
    async recover({ backMs, claimMs, retryMs }: LawfulWaits): Promise<number> {
      for (let changed = 0; ; ) {
        const { rowCount } = await own.run('putting waits right', recovering, [
          backMs,
          claimMs,
          retryMs,
          MOST_ROWS,
        ])
        changed += rowCount ?? 0
        if ((rowCount ?? 0) < MOST_ROWS) return changed
      }
    },
  }
}

/** The clock of the server alone, for the inbox. */
export async function serverNow(own: Own): Promise<number> {
  const { rows } = await own.run<{ now: string }>(
    'reading the clock',
    'select (extract(epoch from clock_timestamp()) * 1000)::float8::text as now',
    [],
  )
  return Number(rows[0]?.now)
}
