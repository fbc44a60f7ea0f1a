import type { ClockReading, LawfulWaits, StorageClock } from '../../core/storage-clock.ts'
import { microseconds } from '../../sql/mysql/bytes.ts'
import type { Tables } from '../../sql/mysql/names.ts'
import { onlyRow, type Own } from '../../sql/mysql/own.ts'
import { NOW_MS } from '../../sql/mysql/server.ts'
import type { Place } from './place.ts'

/** Rows put right by one transaction. */
const MOST_ROWS = 5000

/**
 * Of both ends of the table: what was added last, and what has waited longest, are the first to
 * show a clock that was set back.
 */
const read = (T: Tables): string => `
select ${NOW_MS} as now, cast(coalesce(timestampdiff(microsecond, utc_timestamp(6), greatest(
    coalesce((select o.added_at from ${T.outbox} o where o.died_at is null order by o.position desc limit 1), utc_timestamp(6)),
    coalesce((select o.added_at from ${T.outbox} o where o.died_at is null order by o.position limit 1), utc_timestamp(6)))), 0) / 1000 as char) as ahead`

/**
 * Microseconds that a row may lawfully wait. One that was in the hands of a relay has a token, an
 * attempt or an error; the delay of any other is its sender's, and a null here.
 */
const LAWFUL =
  'case when o.token is not null then ? when o.attempts > 0 or o.error is not null then ? end'
const MOST = `coalesce(${LAWFUL}, timestampdiff(microsecond, o.added_at, o.visible_at))`
const unlawful = (most: string): string =>
  `o.visible_at > utc_timestamp(6) + interval (${most}) microsecond`

/** Locked rows are being given a time of the new clock, and are passed over. */
const find = (T: Tables): string => `
select cast(o.position as char) as position from ${T.outbox} o force index (primary)
where o.died_at is null and (o.added_at > utc_timestamp(6) or ${unlawful(LAWFUL)})
order by o.position limit ${MOST_ROWS} for update skip locked`

/**
 * Only what waits unlawfully long is moved, by the time that the clock was set back, to a time
 * between now and the longest lawful one. A delay of a sender begins when the row was added: if
 * that is later than now, it begins now. (Columns are set from left to right.)
 */
const put = (T: Tables): string => `
update ${T.outbox} o force index (primary)
set o.visible_at = if(${unlawful(MOST)},
    utc_timestamp(6) + interval least(${MOST}, greatest(timestampdiff(microsecond, utc_timestamp(6), o.visible_at) - ?, 0)) microsecond,
    o.visible_at),
  o.due_at = if(o.due_at > utc_timestamp(6), o.visible_at, o.due_at),
  o.added_at = least(o.added_at, utc_timestamp(6))
where o.position in (?)`

/** The clock of the server, which may be set, and which another server takes over from. */
export function mysqlClock({ tables: T }: Place, own: Own): StorageClock {
  const [reading, finding, putting] = [read(T), find(T), put(T)]
  return {
    async read(): Promise<ClockReading> {
      const answer = await own.run<{ now: string; ahead: string }>('reading the clock', reading)
      const { now, ahead } = onlyRow(answer)
      return { now: Number(now), ahead: Math.max(0, Number(ahead)) }
    },
    async recover({ backMs, claimMs, retryMs }: LawfulWaits): Promise<number> {
      const waits = [microseconds(claimMs), microseconds(retryMs)]
      const back = Math.floor(backMs * 1000)
      for (let changed = 0; ; ) {
        const done = await own.transaction('putting waits right', async (query) => {
          const { rows } = await query<{ position: string }>(finding, waits)
          const positions = rows.map(({ position }) => BigInt(position))
          for (let from = 0; from < positions.length; from += 900)
            await query(putting, [...waits, ...waits, back, positions.slice(from, from + 900)])
          return positions.length
        })
        changed += done
        if (done < MOST_ROWS) return changed
      }
    },
  }
}
