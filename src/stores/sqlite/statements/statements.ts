import { listing, whole } from '../../../sql/sqlite/bytes.ts'
import { behind, claim, claimThese, last, rowsOfKey } from './claim-statement.ts'

export const outboxSql: Readonly<
  Record<
    | 'insert'
    | 'openRowOfKey'
    | 'claimThese'
    | 'behind'
    | 'last'
    | 'rowsOfKey'
    | 'anyDue'
    | 'claim'
    | 'keepSent'
    | 'remove'
    | 'attempted'
    | 'retry'
    | 'release'
    | 'renew'
    | 'bury'
    | 'block'
    | 'prune'
    | 'upcoming'
    | 'cancel'
    | 'delayed',
    string
  >
> = {
  insert: `
    INSERT INTO mersal_outbox (visible_at, token, id, type, transport, kind, name, partition_key, created_at, headers, body, due_at)
    VALUES (:visibleAt, :token, :id, :type, :transport, :kind, :name, :partitionKey, :now, :headers, :body, :dueAt)`,

  openRowOfKey: 'SELECT 1 AS found FROM mersal_outbox WHERE partition_key = :partitionKey LIMIT 1',

  anyDue:
    'SELECT 1 AS found FROM mersal_outbox WHERE position >= :from AND position < :upTo AND visible_at <= :now LIMIT 1',

  upcoming:
    'SELECT position, due_at AS dueAt FROM mersal_outbox WHERE due_at > :now ORDER BY due_at LIMIT :limit',

  /** What was in hand has attempts, also if it was given back. */
  cancel:
    'DELETE FROM mersal_outbox WHERE id = :id AND due_at IS NOT NULL AND attempts = 0 AND token IS NULL',

  delayed: 'SELECT 1 AS found FROM mersal_outbox WHERE id = :id AND due_at IS NOT NULL LIMIT 1',

  claim,
  claimThese,
  behind,
  last,
  rowsOfKey,

  keepSent: `
    INSERT INTO mersal_sent (position, sent_at, id, type, transport, kind, name, partition_key, created_at, headers, body)
    SELECT position, :now, id, type, transport, kind, name, partition_key, created_at, headers, body
    FROM mersal_outbox WHERE position = :position AND token = :token`,

  remove: 'DELETE FROM mersal_outbox WHERE position = :position AND token = :token',

  attempted:
    'SELECT attempts, history FROM mersal_outbox WHERE position = :position AND token = :token',

  retry:
    'UPDATE mersal_outbox SET visible_at = :visibleAt, token = NULL, history = :history WHERE position = :position AND token = :token',

  /**
   * Attempts -1, which count as none: it has been in hand, so what it waits for is no delay of its
   * sender.
   */
  release: `
    UPDATE mersal_outbox SET visible_at = :visibleAt, token = NULL, attempts = CASE WHEN attempts > 1 THEN attempts - 1 ELSE -1 END
    WHERE position = :position AND token = :token`,

  renew:
    'UPDATE mersal_outbox SET visible_at = :visibleAt WHERE position = :position AND token = :token',

  bury: `
    INSERT INTO mersal_dead_letters
      (position, blocks, reason, error, history, maybe_published, died_at, attempts, created_at, id, type, transport, kind, name, partition_key, headers, body)
    SELECT position, :block AND partition_key IS NOT NULL, :reason, :error, :history, :maybePublished, :now, attempts, created_at,
      id, type, transport, kind, name, partition_key, headers, body
    FROM mersal_outbox WHERE position = :position AND token = :token
    RETURNING blocks`,

  /** The history goes on in the dead letter. */
  block:
    'UPDATE mersal_outbox SET visible_at = :never, token = NULL, history = NULL WHERE position = :position AND token = :token',

  prune: `
    DELETE FROM mersal_sent
    WHERE number IN (SELECT number FROM mersal_sent WHERE sent_at <= :before ORDER BY sent_at LIMIT :limit)`,
}

export const inboxSql = {
  /** A record of somebody else has another time: this unit had the file for itself. */
  forget:
    'DELETE FROM mersal_inbox WHERE consumer = :consumer AND message_id = :messageId AND handled_at = :now',

  track: `
    INSERT INTO mersal_inbox (consumer, message_id, handled_at) VALUES (:consumer, :messageId, :now)
    ON CONFLICT (consumer, message_id) DO NOTHING`,

  prune: `
    DELETE FROM mersal_inbox
    WHERE (consumer, message_id) IN (
      SELECT consumer, message_id FROM mersal_inbox WHERE handled_at < :before ORDER BY handled_at LIMIT :limit)`,
} as const

export const adminSql: Readonly<
  Record<'list' | 'reinsert' | 'unblock' | 'removeBlocking' | 'find' | 'remove' | 'stats', string>
> = {
  /**
   * The bytes of one page are bounded, and the bytes of a letter that is too large are not read.
   */
  list: listing(
    'mersal_dead_letters',
    `transport, kind, name, blocks, maybe_published, ${whole('history')}`,
  ),

  /** A dead letter that left its place comes back at the end, with a new position. */
  reinsert: `
    INSERT INTO mersal_outbox (visible_at, attempts, id, type, transport, kind, name, partition_key, created_at, headers, body)
    SELECT :now, -1, id, type, transport, kind, name, partition_key, coalesce(created_at, died_at), headers, body
    FROM mersal_dead_letters WHERE key = :key`,

  /** One that kept its place goes on from there. */
  unblock: 'UPDATE mersal_outbox SET visible_at = :now, attempts = -1 WHERE position = :position',

  removeBlocking: 'DELETE FROM mersal_outbox WHERE position = :position',

  find: 'SELECT position, blocks FROM mersal_dead_letters WHERE key = :key',

  remove: 'DELETE FROM mersal_dead_letters WHERE key = :key',

  stats: `
    SELECT
      count(*) - (SELECT count(*) FROM mersal_dead_letters WHERE blocks = 1) AS pending,
      count(*) FILTER (WHERE token IS NOT NULL AND visible_at > :now) AS claimed,
      (SELECT count(*) FROM mersal_dead_letters) AS dead,
      :now - min(visible_at) FILTER (WHERE visible_at <= :now) AS oldest_due_ms
    FROM mersal_outbox`,
}
