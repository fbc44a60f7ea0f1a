import type { KeptFilter } from '../../../core/operations.ts'
import { bothEnds, type KeptConditions, keptWhere } from '../../../sql/shared/operator-tools.ts'
import type { SqlValues } from '../../../sql/sqlite/connection/database.ts'

// What tools of operators run; the statements of the running system are in `statements.ts`.

const blocking =
  'EXISTS (SELECT 1 FROM mersal_dead_letters d WHERE d.blocks = 1 AND d.position = o.position)'

/** No name is longer, but somebody may have written one. */
const place = (row: string): string =>
  `substr(${row}transport, 1, 200) || '/' || ${row}kind || '/' || substr(${row}name, 1, 200)`

/** A relay could take it: it is neither paused nor behind another one of its key. */
const free = `
  (o.partition_key IS NULL OR NOT EXISTS (
    SELECT 1 FROM mersal_outbox h WHERE h.partition_key = o.partition_key AND h.position < o.position))
  AND NOT EXISTS (SELECT 1 FROM mersal_pauses p WHERE p.kind = 'key' AND p.name = o.partition_key)
  AND NOT EXISTS (SELECT 1 FROM mersal_pauses p WHERE p.kind = 'destination' AND p.name = ${place('o.')})`

const read = bothEnds(
  'mersal_outbox',
  'r.position, r.partition_key, r.transport, r.kind, r.name, r.visible_at, r.token, r.attempts, r.created_at',
)

/** The rows of the outbox, each with whether it is a dead letter that kept its place. */
const rows = `
  SELECT o.partition_key, ${place('o.')} AS destination, o.visible_at, o.token, o.attempts, o.created_at,
    ${blocking} AS blocking, ${free} AS free
  FROM ${read} o`

const numbers = `
  count(*) FILTER (WHERE NOT blocking) AS pending,
  count(*) FILTER (WHERE NOT blocking AND visible_at <= :now) AS due,
  count(*) FILTER (WHERE NOT blocking AND token IS NOT NULL AND visible_at > :now) AS claimed,
  :now - min(visible_at) FILTER (WHERE NOT blocking AND visible_at <= :now) AS oldest_due_ms,
  :now - min(visible_at) FILTER (WHERE NOT blocking AND visible_at <= :now AND free) AS waiting_ms,
  count(*) FILTER (WHERE NOT blocking AND attempts > 0 AND token IS NULL) AS refused,
  :now - min(created_at) FILTER (WHERE NOT blocking) AS oldest_ms`

const conditions: KeptConditions = {
  since: 'sent_at >= ?',
  until: 'sent_at < ?',
  type: 'type = ?',
  partitionKey: 'partition_key = ?',
  destination: "transport || '/' || kind || '/' || name = ?",
  id: 'id = ?',
}

interface Filtered {
  readonly text: string
  readonly values: SqlValues
}

/** A statement on the kept messages that pass a filter. */
function filtered(filter: KeptFilter, statement: (where: string) => string): Filtered {
  const { text, values } = keptWhere(filter, conditions, (number) => `:p${number}`)
  const named = values.map((value, index) => [`p${index + 1}`, value] as const)
  return { text: statement(text), values: Object.fromEntries(named) }
}

export const countKept = (filter: KeptFilter): Filtered =>
  filtered(filter, (where) => `SELECT count(*) AS count FROM mersal_sent WHERE ${where}`)

/** Besides the values of the filter, `limit`. */
export const pickKept = (filter: KeptFilter): Filtered =>
  filtered(
    filter,
    (where) => `SELECT number FROM mersal_sent WHERE ${where} ORDER BY position LIMIT :limit`,
  )

type Purpose =
  | 'consumers'
  | 'trace'
  | 'refused'
  | 'counts'
  | 'destinations'
  | 'keys'
  | 'pauses'
  | 'pause'
  | 'explain'
  | 'resume'
  | 'putBack'
  | 'removeKept'

export const operatorSql: Readonly<Record<Purpose, string>> = {
  // From one name to the next by the index, however many records there are.
  consumers: `
    WITH RECURSIVE c(name) AS (
      SELECT min(consumer) FROM mersal_inbox
      UNION ALL
      SELECT (SELECT min(i.consumer) FROM mersal_inbox i WHERE i.consumer > c.name) FROM c WHERE c.name IS NOT NULL)
    SELECT name FROM c WHERE name IS NOT NULL LIMIT :limit`,

  trace: `
    SELECT (SELECT iif(o.token IS NOT NULL AND o.visible_at > :now, 'sending', 'waiting')
        FROM mersal_outbox o WHERE o.id = :messageId ORDER BY o.position LIMIT 1) AS place,
      EXISTS (SELECT 1 FROM mersal_dead_letters d WHERE d.id = :messageId) AS dead,
      EXISTS (SELECT 1 FROM mersal_inbox i WHERE i.consumer = :consumer AND i.message_id = :messageId) AS handled`,

  /** Also those that are in hand once more. */
  refused: `
    SELECT o.position, o.id, substr(o.type, 1, 200) AS type, substr(o.transport, 1, 200) AS transport, o.kind, substr(o.name, 1, 200) AS name,
      o.partition_key, o.attempts, o.history, o.visible_at AS due_at
    FROM mersal_outbox o
    WHERE o.position > :after AND o.attempts > 0 AND (o.token IS NULL OR o.history IS NOT NULL) AND NOT ${blocking}
    ORDER BY o.position LIMIT :limit`,

  counts: `
    SELECT ${numbers}, count(*) AS rows_read, (SELECT count(*) FROM mersal_outbox) AS all_rows,
      (SELECT count(*) FROM mersal_dead_letters) AS dead, (SELECT count(*) FROM mersal_sent) AS kept,
      coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'mersal_outbox'), 0) AS added
    FROM (${rows})`,

  destinations: `
    SELECT destination, sum(pending) AS pending, sum(due) AS due, sum(claimed) AS claimed, sum(dead) AS dead,
      max(oldest_due_ms) AS oldest_due_ms, max(waiting_ms) AS waiting_ms, sum(refused) AS refused, max(oldest_ms) AS oldest_ms
    FROM (
      SELECT destination, ${numbers}, 0 AS dead FROM (${rows}) GROUP BY destination
      UNION ALL
      SELECT ${place('')}, 0, 0, 0, NULL, NULL, 0, NULL, count(*) FROM mersal_dead_letters GROUP BY 1)
    GROUP BY destination ORDER BY destination`,

  keys: `
    SELECT partition_key AS key, count(*) FILTER (WHERE NOT blocking) AS pending,
      :now - min(created_at) FILTER (WHERE NOT blocking) AS oldest_ms, max(blocking) AS blocked
    FROM (${rows}) WHERE partition_key IS NOT NULL GROUP BY partition_key
    ORDER BY max(blocking) DESC, min(created_at) LIMIT :limit`,

  pauses: 'SELECT kind, name, reason, paused_at AS since FROM mersal_pauses ORDER BY kind, name',

  pause:
    'INSERT INTO mersal_pauses (kind, name, reason, paused_at) VALUES (:kind, :name, :reason, :now) ON CONFLICT DO NOTHING',

  explain: 'UPDATE mersal_pauses SET reason = :reason WHERE kind = :kind AND name = :name',

  resume: 'DELETE FROM mersal_pauses WHERE kind = :kind AND name = :name',

  putBack: `
    INSERT INTO mersal_outbox (visible_at, attempts, id, type, transport, kind, name, partition_key, created_at, headers, body)
    SELECT :now, -1, coalesce(:newId, id), type, transport, kind, name, partition_key, created_at, headers, body
    FROM mersal_sent WHERE number = :number`,

  removeKept: 'DELETE FROM mersal_sent WHERE number = :number',
}
