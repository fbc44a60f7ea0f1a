import { NEVER } from '../../sql/mysql/columns.ts'
import type { QueueTables } from '../../sql/mysql/names.ts'
import { millisecondsOf } from '../../sql/mysql/server.ts'

/**
 * Every statement on the tables of one database. A question mark may stand for a list. An index is
 * forced wherever rows are locked, so that no others are. The tables themselves are in `schema.ts`.
 */
export type QueueStatements = Readonly<Record<Name, string>> & {
  /** For this number of pairs of a queue and a key. */
  readonly heads: (pairs: number) => string
  /** For this number of rows. */
  readonly insert: (rows: number) => string
}

type Name =
  | 'find'
  | 'declare'
  | 'subscribe'
  | 'unsubscribe'
  | 'topics'
  | 'lockQueue'
  | 'inUse'
  | 'unsubscribeAll'
  | 'removeQueue'
  | 'overview'
  | 'queuesOf'
  | 'subscribersOf'
  | 'lockKeys'
  | 'first'
  | 'lockDue'
  | 'take'
  | 'read'
  | 'renew'
  | 'held'
  | 'lockHeld'
  | 'bury'
  | 'remove'
  | 'promote'
  | 'retry'
  | 'postpone'
  | 'release'
  | 'aside'
  | 'deadSizes'
  | 'deadSizesOf'
  | 'deadRows'
  | 'deadFind'
  | 'deadBack'
  | 'deadRemove'

const content = 'id, type, partition_key, headers, body'
const due = 'utc_timestamp(6)'
const later = `${due} + interval ? microsecond`
const owned = 'm.position = ? and m.token = ?'

/** Without its content if that has more bytes than `?`, thrice. */
const shown = (row: string): string => {
  const large = `${row}.bytes > ?`
  return `left(${row}.id, 255) as id, ${row}.type, ${row}.partition_key,
  if(${large}, '{}', ${row}.headers) as headers, if(${large}, '', ${row}.body) as body,
  if(${large}, cast(${row}.bytes as char), null) as withheld_bytes`
}

/** Of each pair of queue and key, the first row. It is locked. */
const heads = (T: QueueTables, pairs: number): string =>
  Array(pairs)
    .fill(
      `(select cast(m.position as char) as position, m.queue, m.partition_key, m.visible_at = ${NEVER} as waits
      from ${T.message} m force index (mersal_queue_message_key)
      where m.queue = ? and m.partition_key = ? order by m.position limit 1 for update)`,
    )
    .join(' union all ')

function topologyStatements(
  T: QueueTables,
): Pick<
  QueueStatements,
  | 'find'
  | 'declare'
  | 'subscribe'
  | 'unsubscribe'
  | 'topics'
  | 'lockQueue'
  | 'inUse'
  | 'unsubscribeAll'
  | 'removeQueue'
  | 'overview'
> {
  return {
    find: `select q.id from ${T.queue} q where q.name = ? lock in share mode`,
    declare: `insert ignore into ${T.queue} (name, id) values (?, ?)`,
    subscribe: `insert ignore into ${T.subscription} (topic, queue) values (?, ?)`,
    unsubscribe: `delete from ${T.subscription} where topic in (?) and queue = ?`,
    topics: `select s.topic from ${T.queue} q join ${T.subscription} s on s.queue = q.id where q.name = ? order by s.topic`,
    lockQueue: `select q.id from ${T.queue} q where q.name = ? for update`,
    inUse: `select exists (select 1 from ${T.message} m where m.queue = ?) as waiting, exists (select 1 from ${T.dead} d where d.queue = ?) as dead`,
    unsubscribeAll: `delete from ${T.subscription} where queue = ?`,
    removeQueue: `delete from ${T.queue} where id = ?`,
    overview: `
select q.name, cast(coalesce(d.count, 0) as char) as dead, cast(coalesce(m.count, 0) as char) as waiting from ${T.queue} q
left join (select queue, count(*) as count from ${T.dead} group by queue) d on d.queue = q.id
left join (select queue, count(*) as count from ${T.message} group by queue) m on m.queue = q.id
order by q.name`,
  }
}

function messageStatements(
  T: QueueTables,
): Pick<
  QueueStatements,
  | 'queuesOf'
  | 'subscribersOf'
  | 'lockKeys'
  | 'heads'
  | 'insert'
  | 'first'
  | 'lockDue'
  | 'take'
  | 'read'
  | 'renew'
  | 'held'
> {
  const taken = `select cast(m.position as char) as position`
  return {
    // Nobody removes a queue whose row is locked.
    queuesOf: `select q.name, q.id from ${T.queue} q where q.name in (?) lock in share mode`,
    subscribersOf: `select s.topic as name, q.id from ${T.subscription} s join ${T.queue} q on q.id = s.queue where s.topic in (?) order by q.id lock in share mode`,
    // As in the store: whoever has locked keys never waits for the table of the messages.
    lockKeys: `select k.slot from ${T.keyLock} k force index (primary) left join ${T.message} m on m.position = null
      where k.slot in (?) order by k.slot for update`,
    heads: (pairs: number) => heads(T, pairs),
    /** Each: queue, whether another one of its key is before it, id, type, key, headers, body. */
    insert: (rows: number) =>
      `insert into ${T.message} (queue, visible_at, due_at, ${content}) values ${Array(rows).fill(`(?, if(? = 1, ${NEVER}, ${due}), ${due}, ?, ?, ?, ?, ?)`).join(', ')}`,
    first: `select cast(timestampdiff(microsecond, ${due}, m.visible_at) / 1000 as char) as wait
      from ${T.message} m force index (mersal_queue_message_due) where m.queue = ? order by m.visible_at, m.position limit 1`,
    /** Queue, most rows. */
    lockDue: `${taken}, cast(m.bytes as char) as bytes from ${T.message} m force index (mersal_queue_message_due)
      where m.queue = ? and m.visible_at <= ${due} order by m.visible_at, m.position limit ? for update skip locked`,
    take: `update ${T.message} m force index (primary) set m.visible_at = ${later}, m.token = ?,
      m.attempts = least(greatest(m.attempts, 0), 1000000) + 1 where m.position in (?)`,
    read: `${taken}, m.attempts, cast(m.postponed_since as char) as postponed_since, m.dead_reason, m.dead_error, ${shown('m')}
      from ${T.message} m force index (primary) where m.position in (?) order by m.position`,
    renew: `update ${T.message} m force index (primary) set m.visible_at = ${later} where m.position in (?) and m.token = ?`,
    held: `${taken}, m.token from ${T.message} m force index (primary) where m.position in (?)`,
  }
}

function settlingStatements(
  T: QueueTables,
): Pick<
  QueueStatements,
  'lockHeld' | 'bury' | 'remove' | 'promote' | 'retry' | 'postpone' | 'release' | 'aside'
> {
  const back = `m.token = null, m.attempts = greatest(m.attempts - 1, 0)`
  const update = `update ${T.message} m force index (primary) set`
  return {
    lockHeld: `select cast(m.position as char) as position, m.token, m.queue, m.partition_key from ${T.message} m force index (primary) where m.position in (?) order by m.position for update`,
    /** Reason, error, position. */
    bury: `insert into ${T.dead} (queue, reason, error, died_at, attempts, ${content})
      select m.queue, ?, ?, ${due}, m.attempts, m.id, m.type, m.partition_key, m.headers, m.body from ${T.message} m where m.position = ?`,
    remove: `delete m from ${T.message} m force index (primary) where m.position in (?)`,
    promote: `${update} m.visible_at = m.due_at where m.position in (?)`,
    retry: `${update} m.visible_at = ${later}, m.token = null where ${owned}`,
    /** Microseconds, since, position, token. */
    postpone: `${update} m.visible_at = ${later}, m.postponed_since = ?, ${back} where ${owned}`,
    release: `${update} m.visible_at = ${due}, ${back} where ${owned}`,
    /** Microseconds, reason, error, position, token. */
    aside: `${update} m.visible_at = ${later}, m.dead_reason = ?, m.dead_error = ?, ${back} where ${owned}`,
  }
}

function deadStatements(
  T: QueueTables,
): Pick<
  QueueStatements,
  'deadSizes' | 'deadSizesOf' | 'deadRows' | 'deadFind' | 'deadBack' | 'deadRemove'
> {
  return {
    deadSizes: `select cast(d.number as char) as number, cast(d.bytes as char) as bytes from ${T.dead} d where d.number > ? order by d.number limit ?`,
    /** Of one queue: its name. */
    deadSizesOf: `select cast(d.number as char) as number, cast(d.bytes as char) as bytes from ${T.dead} d
      where d.number > ? and d.queue = (select q.id from ${T.queue} q where q.name = ?) order by d.number limit ?`,
    deadRows: `select cast(d.number as char) as number, q.name as queue, d.reason, d.error, d.attempts, ${millisecondsOf('d.died_at')} as died_at, ${shown('d')}
      from ${T.dead} d join ${T.queue} q on q.id = d.queue where d.number in (?) order by d.number`,
    deadFind: `select d.queue, d.partition_key from ${T.dead} d force index (primary) where d.number = ? for update`,
    /** Whether another one of its key is there, number. */
    deadBack: `insert into ${T.message} (queue, visible_at, due_at, ${content})
      select d.queue, if(? = 1, ${NEVER}, ${due}), ${due}, d.id, d.type, d.partition_key, d.headers, d.body from ${T.dead} d where d.number = ?`,
    deadRemove: `delete from ${T.dead} where number = ?`,
  }
}

export function queueStatements(T: QueueTables): QueueStatements {
  return {
    ...topologyStatements(T),
    ...messageStatements(T),
    ...settlingStatements(T),
    ...deadStatements(T),
  }
}
