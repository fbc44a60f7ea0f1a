import type { KeptFilter } from '../../../core/operations.ts'
import { bytesOf } from '../../../sql/mysql/bytes.ts'
import type { Tables } from '../../../sql/mysql/names.ts'
import {
  bothEnds,
  type KeptConditions,
  keptWhere,
  MOST_ROWS_READ,
} from '../../../sql/shared/operator-tools.ts'
import { millisecondsOf } from '../../../sql/mysql/server.ts'
import { messageColumns } from './statements.ts'

/** What tools of operators run; the statements of the running system are in `statements.ts`. */
export interface OperatorStatements {
  /** Database. */
  readonly counts: string
  readonly destinations: string
  /** Dead letters by destination. */
  readonly deadPlaces: string
  /** Most keys. */
  readonly keys: string
  readonly pauses: string
  /** Kind, name, reason. */
  readonly pause: string
  /** Kind, name. */
  readonly resume: string
  readonly countKept: (filter: KeptFilter) => Filtered
  /** Locks the rows that are to be moved. */
  readonly pickKept: (filter: KeptFilter, limit: number) => Filtered
  /** Whether the ids are new, number. */
  readonly putBack: string
  /** Number. */
  readonly removeKept: string
  /** Most names. */
  readonly consumers: string
  /** Id, id, consumer, id. */
  readonly trace: string
  /** Position, most rows. */
  readonly refused: string
}

/** A statement that depends on a filter, with its values. */
export interface Filtered {
  readonly text: string
  readonly values: readonly unknown[]
}

const place = (row: string): string =>
  `concat(left(${row}.transport, 200), '/', ${row}.kind, '/', left(${row}.name, 200))`

const age = (column: string, condition: string): string =>
  `cast(coalesce(timestampdiff(microsecond, min(if(${condition}, ${column}, null)), utc_timestamp(6)), 0) / 1000 as char)`
const count = (condition: string): string => `cast(coalesce(sum(${condition}), 0) as char)`

const open = 'o.died_at is null'
const due = `(${open} and o.visible_at <= utc_timestamp(6))`
const refused = `(${open} and o.attempts > 0 and o.token is null)`
/** A relay could take it: it is neither paused nor behind another one of its key. */
const free = (T: Tables): string => `(${due}
  and (o.partition_key is null or o.position = (select min(h.position) from ${T.outbox} h where h.partition_key = o.partition_key))
  and (o.partition_key is null or not exists (select 1 from ${T.pause} p where p.kind = 'key' and p.name = o.partition_key))
  and not exists (select 1 from ${T.pause} p where p.kind = 'destination' and p.name = ${place('o')}))`

const numbers = (T: Tables): string => `
  ${count(open)} as pending, ${count(due)} as due,
  ${count(`${open} and o.token is not null and o.visible_at > utc_timestamp(6)`)} as claimed,
  ${age('o.visible_at', due)} as oldest_due_ms, ${age('o.visible_at', free(T))} as waiting_ms,
  ${count(refused)} as refused, max(if(${refused} and o.error <> '', o.error, null)) as last_error,
  ${age('o.added_at', open)} as oldest_ms`

const read = (T: Tables): string =>
  bothEnds(
    T.outbox,
    'r.position, r.partition_key, r.transport, r.kind, r.name, r.visible_at, r.token, r.attempts, r.error, r.added_at, r.died_at',
  )
const letters = (T: Tables): string =>
  `(select l.transport, l.kind, l.name from ${T.dead} l order by l.letter desc limit ${MOST_ROWS_READ + 1})`

const conditions: KeptConditions = {
  since: `s.sent_at >= '1970-01-01 00:00:00' + interval ? microsecond`,
  until: `s.sent_at < '1970-01-01 00:00:00' + interval ? microsecond`,
  type: 's.type = ?',
  partitionKey: 's.partition_key = ?',
  destination: `concat(s.transport, '/', s.kind, '/', s.name) = ?`,
  id: 's.id = ?',
}

function where(filter: KeptFilter): Filtered {
  const { text, values } = keptWhere(filter, conditions, () => '?')
  // Numbers are times, which the conditions take in microseconds.
  const given = values.map((value) =>
    typeof value === 'number' ? Math.round(value * 1000) : bytesOf(value),
  )
  return { text, values: given }
}

export function operatorStatements(T: Tables): OperatorStatements {
  return {
    counts: `
select ${numbers(T)}, cast(count(*) as char) as rows_read,
  (select cast(t.table_rows as char) from information_schema.tables t
    where t.table_schema = ? and t.table_name = 'mersal_outbox') as all_rows,
  (select cast(count(*) as char) from ${letters(T)} l) as dead,
  (select cast(count(*) as char) from ${T.sent}) as kept,
  (select cast(t.auto_increment - 1 as char) from information_schema.tables t
    where t.table_schema = ? and t.table_name = 'mersal_outbox') as added
from ${read(T)} o`,
    destinations: `select ${place('o')} as destination, ${numbers(T)} from ${read(T)} o group by 1 order by 1`,
    deadPlaces: `select ${place('d')} as destination, cast(count(*) as char) as dead from ${letters(T)} d group by 1 order by 1`,
    keys: `
select o.partition_key, ${count(open)} as pending, ${age('o.added_at', open)} as oldest_ms, max(o.died_at is not null) as blocked
from ${read(T)} o where o.partition_key is not null group by o.partition_key
order by max(o.died_at is not null) desc, min(o.added_at) limit ?`,
    pauses: `select p.kind, p.name, p.reason, ${millisecondsOf('p.paused_at')} as since from ${T.pause} p order by p.kind, p.name`,
    pause: `insert into ${T.pause} (kind, name, reason, paused_at) values (?, ?, ?, utc_timestamp(6))`,
    resume: `delete from ${T.pause} where kind = ? and name = ?`,
    countKept: (filter) => {
      const { text, values } = where(filter)
      return {
        text: `select cast(count(*) as char) as count from ${T.sent} s where ${text}`,
        values,
      }
    },
    pickKept: (filter, limit) => {
      const { text, values } = where(filter)
      return {
        text: `select cast(s.number as char) as number, s.partition_key from ${T.sent} s where ${text} order by s.position, s.number limit ${Math.trunc(limit)} for update`,
        values,
      }
    },
    putBack: `
insert into ${T.outbox} (visible_at, added_at, ${messageColumns('s').replaceAll('s.', '')})
select utc_timestamp(6), s.added_at, ${messageColumns('s').replace('s.id', 'coalesce(?, s.id)')} from ${T.sent} s where s.number = ?`,
    removeKept: `delete from ${T.sent} where number = ?`,
    trace: `
select (select if(o.died_at is not null, 'dead', if(o.token is not null and o.visible_at > utc_timestamp(6), 'sending', 'waiting'))
    from ${T.outbox} o where o.id = ? order by o.position limit 1) as place,
  exists (select 1 from ${T.dead} d where d.id = ?) as dead,
  exists (select 1 from ${T.inbox} i where i.consumer = ? and i.message_id = ?) as handled`,
    // Also those that are in hand once more.
    refused: `
select cast(o.position as char) as position, o.id, left(o.type, 200) as type, left(o.transport, 200) as transport, o.kind, left(o.name, 200) as name,
  o.partition_key, o.attempts, o.history, ${millisecondsOf('o.visible_at')} as due_at
from ${T.outbox} o force index (primary)
where o.position > ? and ${open} and o.attempts > 0 and (o.history is not null or o.token is null) order by o.position limit ?`,
    consumers: `select distinct i.consumer from ${T.inbox} i limit ?`,
  }
}
