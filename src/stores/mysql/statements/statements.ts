import type { Tables } from '../../../sql/mysql/names.ts'
import { whole } from '../../../sql/mysql/whole.ts'
import { millisecondsOf, NOW_MS, type Server } from '../../../sql/mysql/server.ts'
import { NEVER } from '../../../sql/mysql/columns.ts'
import { type CancelStatements, cancelStatements } from './cancel-statements.ts'
import { placeholders, savingStatements, type SavingStatements } from './saving-statements.ts'

/**
 * Statements on the tables of one database that run on our own connections: a question mark may
 * stand for a list there. An index is forced wherever rows are locked: whatever the planner thinks
 * of a small table, rows that are not meant are not locked, and those that are, in their order.
 */
export interface Statements extends SavingStatements, CancelStatements {
  /** Positions, token. */
  readonly sent: string
  readonly keepSent: string
  /** Positions, and each with its token as `position:token`. */
  readonly sentMany: string
  readonly keepSentMany: string
  /** Positions, token. */
  readonly attempted: string
  /** Microseconds, error, history, positions, token. */
  readonly retry: string
  /** Microseconds, error, positions, token. */
  readonly release: string
  /** Microseconds, positions, and each with its token. */
  readonly renew: string
  /** Whether it blocks, reason, error, history, whether the broker may have it, position, token. */
  readonly bury: string
  /** Position, token, whether it goes although it has a key. */
  readonly removeBuried: string
  /** Error, position, token. */
  readonly block: string
  /** Microseconds, most rows. */
  readonly pruneSent: string
  readonly deadSizes: string
  readonly deadRows: string
  readonly deadFind: string
  readonly deadUnblock: string
  readonly deadReinsert: string
  readonly deadRemove: string
  readonly deadRemoveBlocking: string
  readonly stats: string
  /** Most rows. */
  readonly upcoming: string
  readonly track: string
  readonly trackMany: (count: number) => string
  readonly tracked: (count: number) => string
  readonly forget: string
  readonly pruneInbox: string
}

const names = 'id, partition_key, type, transport, kind, name, headers, body'

export const messageColumns = (row: string): string =>
  names
    .split(', ')
    .map((name) => `${row}.${name}`)
    .join(', ')

/** The columns of a message, without its content if that has more bytes than `?`, thrice. */
export const shown = (row: string): string => {
  const large = `${row}.bytes > ?`
  return `${row}.id, ${row}.partition_key, left(${row}.type, 200) as type, ${row}.transport, ${row}.kind, ${row}.name,
  if(${large}, '{}', ${row}.headers) as headers, if(${large}, '', ${row}.body) as body,
  if(${large}, cast(${row}.bytes as char), null) as withheld_bytes`
}

const owned = 'o.position in (?) and o.token = ?'
const ownedEach = `o.position in (?) and concat(o.position, ':', o.token) in (?)`

/** Whatever is kept must be what is deleted: locked until then. */
const keep = (T: Tables, which: string): string => `
insert into ${T.sent} (position, sent_at, added_at, ${names})
select o.position, utc_timestamp(6), o.added_at, ${messageColumns('o')}
from ${T.outbox} o force index (primary) where ${which} order by o.position for update`

const remove = (T: Tables, which: string): string =>
  `delete o from ${T.outbox} o force index (primary) where ${which}`

/** The empty text marks what has been in hand, and so waits for no delay of its sender. */
const later = (T: Tables, error: string, more: string): string => `
update ${T.outbox} o force index (primary)
set o.visible_at = utc_timestamp(6) + interval ? microsecond, o.token = null, o.error = ${error}${more}
where ${owned}`

const bury = (T: Tables): string => `
insert into ${T.dead} (blocks, reason, error, history, maybe_published, position, died_at, attempts, added_at, ${names})
select if(? = 1 and o.partition_key is not null, 1, 0), ?, ?, ?, ?, o.position, utc_timestamp(6), o.attempts, o.added_at, ${messageColumns('o')}
from ${T.outbox} o force index (primary) where o.position = ? and o.token = ? for update`

const stats = (T: Tables): string => `
select cast(count(*) as char) as pending,
  cast(coalesce(sum(o.token is not null and o.visible_at > utc_timestamp(6)), 0) as char) as claimed,
  (select cast(count(*) as char) from ${T.dead}) as dead,
  cast(coalesce(timestampdiff(microsecond, min(if(o.visible_at <= utc_timestamp(6), o.visible_at, null)), utc_timestamp(6)), 0) / 1000 as char) as oldest_due_ms
from ${T.outbox} o where o.died_at is null`

/** A record that is there gets one hit more, which tells it from one that was made. */
const HIT = 'on duplicate key update hits = hits + 1'

export function statements(T: Tables, server: Server): Statements {
  return {
    ...savingStatements(T, server),
    ...cancelStatements(T, server),
    sent: remove(T, owned),
    keepSent: keep(T, owned),
    sentMany: remove(T, ownedEach),
    keepSentMany: keep(T, ownedEach),
    attempted: `select cast(o.position as char) as position, o.attempts, o.history, ${NOW_MS} as now from ${T.outbox} o force index (primary) where ${owned}`,
    retry: later(T, '?', ', o.history = ?'),
    release: later(T, `coalesce(?, o.error, '')`, ', o.attempts = greatest(o.attempts - 1, 0)'),
    renew: `update ${T.outbox} o force index (primary) set o.visible_at = utc_timestamp(6) + interval ? microsecond where ${ownedEach}`,
    bury: bury(T),
    removeBuried: `delete o from ${T.outbox} o force index (primary) where o.position = ? and o.token = ? and (? = 1 or o.partition_key is null)`,
    block: `update ${T.outbox} o force index (primary) set o.visible_at = ${NEVER}, o.due_at = null, o.token = null, o.error = ?, o.history = null, o.died_at = utc_timestamp(6) where o.position = ? and o.token = ?`,
    pruneSent: `delete from ${T.sent} where sent_at <= utc_timestamp(6) - interval ? microsecond order by sent_at limit ?`,
    deadSizes: `select cast(d.letter as char) as letter, cast(d.bytes as char) as bytes from ${T.dead} d where d.letter > ? order by d.letter limit ?`,
    deadRows: `select cast(d.letter as char) as letter, ${shown('d')}, d.blocks, d.reason, d.error, d.maybe_published, d.attempts, d.history, ${millisecondsOf('d.died_at')} as died_at from ${T.dead} d where d.letter in (?) order by d.letter`,
    deadFind: `select cast(d.letter as char) as letter, cast(d.position as char) as position, d.blocks, d.partition_key from ${T.dead} d force index (primary) where d.letter in (?) order by d.letter for update`,
    deadUnblock: `update ${T.outbox} o force index (primary) set o.visible_at = utc_timestamp(6), o.token = null, o.attempts = 0, o.error = null, o.died_at = null where o.position = ? and o.died_at is not null`,
    deadReinsert: `insert into ${T.outbox} (visible_at, added_at, ${names}) select utc_timestamp(6), d.added_at, ${messageColumns('d')} from ${T.dead} d where d.letter = ?`,
    deadRemove: `delete from ${T.dead} where letter = ?`,
    deadRemoveBlocking: `delete o from ${T.outbox} o force index (primary) where o.position = ? and o.died_at is not null`,
    stats: stats(T),
    upcoming: `
select cast(o.position as char) as position, cast(timestampdiff(microsecond, utc_timestamp(6), o.due_at) / 1000 as char) as in_ms
from ${T.outbox} o force index (mersal_outbox_due) where o.due_at > utc_timestamp(6) order by o.due_at limit ?`,
    track: `insert into ${T.inbox} (consumer, message_id, handled_at, recorder, turn) select ?, ?, utc_timestamp(6), ?, ? from dual where ${server.inTransaction} ${HIT}`,
    trackMany: (count) => `
insert into ${T.inbox} (consumer, message_id, handled_at, recorder, turn)
select ?, g.id, utc_timestamp(6), ?, ?
from (select ? as n, ? as id${' union all select ?, ?'.repeat(count - 1)}) g
where ${server.inTransaction} order by g.n ${HIT}`,
    tracked: (count) =>
      `select ${whole(`field(i.message_id, ${placeholders(count)}) - 1`)} as n from ${T.inbox} i where i.consumer = ? and i.message_id in (${placeholders(count)}) and i.recorder = ? and i.turn = ?`,
    forget: `delete i from ${T.inbox} i force index (primary) where i.consumer = ? and i.message_id in (?) and i.recorder = ?`,
    pruneInbox: `delete from ${T.inbox} where handled_at < utc_timestamp(6) - interval ? microsecond order by handled_at limit ?`,
  }
}
