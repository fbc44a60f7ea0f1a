import { listing } from '../bytes.ts'
import { behind, claim, claimThese, last, rowsOfKey } from './claim-statement.ts'
import type { SqliteTables } from '../migrate.ts'

/**
 * `visible_at` of a row that nobody takes before it is put right: the largest whole number that is
 * exact everywhere.
 */
export const NEVER: number = Number.MAX_SAFE_INTEGER

/**
 * The tables of the store. Times are milliseconds since the Unix epoch.
 *
 * The body is the last column, so that scans do not touch its pages. There is no index on
 * `visible_at`: the claim reads in the order of positions and takes what is due.
 */
export const storeTables: SqliteTables = {
  component: 'store',
  name: 'sqlite',
  place: 'of the store',
  steps: [
    {
      version: 1,
      name: 'outbox, inbox, dead letters and kept rows',
      sql: `
        CREATE TABLE mersal_outbox (
          position INTEGER PRIMARY KEY AUTOINCREMENT, -- order of commits; never given out twice
          visible_at INTEGER NOT NULL,                -- nobody may take the row before
          token TEXT,                                 -- of the present owner
          attempts INTEGER NOT NULL DEFAULT 0,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          transport TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('queue', 'topic')),
          name TEXT NOT NULL,
          partition_key TEXT,
          created_at INTEGER NOT NULL,
          headers TEXT NOT NULL,                      -- JSON object of texts
          body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX mersal_outbox_key ON mersal_outbox (partition_key, position) WHERE partition_key IS NOT NULL;

        CREATE TABLE mersal_inbox (
          consumer TEXT NOT NULL,
          message_id TEXT NOT NULL,
          handled_at INTEGER NOT NULL,
          PRIMARY KEY (consumer, message_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX mersal_inbox_age ON mersal_inbox (handled_at);

        CREATE TABLE mersal_dead_letters (
          key INTEGER PRIMARY KEY AUTOINCREMENT,
          position INTEGER NOT NULL,                  -- of the outbox row that died
          blocks INTEGER NOT NULL,                    -- 1: that row is still there and holds back its key
          reason TEXT NOT NULL,
          error TEXT NOT NULL,
          maybe_published INTEGER NOT NULL,
          died_at INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          transport TEXT NOT NULL,
          kind TEXT NOT NULL,
          name TEXT NOT NULL,
          partition_key TEXT,
          headers TEXT NOT NULL,
          body BLOB NOT NULL
        ) STRICT;

        CREATE TABLE mersal_sent (                    -- confirmed messages, kept for a while if so configured
          position INTEGER PRIMARY KEY,
          sent_at INTEGER NOT NULL,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          transport TEXT NOT NULL,
          kind TEXT NOT NULL,
          name TEXT NOT NULL,
          partition_key TEXT,
          created_at INTEGER NOT NULL,
          headers TEXT NOT NULL,
          body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX mersal_sent_age ON mersal_sent (sent_at);
      `,
    },
    {
      version: 2,
      name: 'pauses',
      sql: `
        CREATE TABLE mersal_pauses (                  -- what operators have paused; relays leave such rows alone
          kind TEXT NOT NULL CHECK (kind IN ('destination', 'key')),
          name TEXT NOT NULL,
          reason TEXT NOT NULL,
          paused_at INTEGER NOT NULL,
          PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
      `,
    },
    {
      version: 3,
      name: 'kept rows with numbers of their own, age of dead letters',
      sql: `
        ALTER TABLE mersal_dead_letters ADD COLUMN created_at INTEGER; -- of the outbox row

        -- A position comes again when the file was restored without sqlite_sequence.
        ALTER TABLE mersal_sent RENAME TO mersal_sent_before;
        DROP INDEX mersal_sent_age;
        CREATE TABLE mersal_sent (
          number INTEGER PRIMARY KEY,
          position INTEGER NOT NULL,
          sent_at INTEGER NOT NULL,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          transport TEXT NOT NULL,
          kind TEXT NOT NULL,
          name TEXT NOT NULL,
          partition_key TEXT,
          created_at INTEGER NOT NULL,
          headers TEXT NOT NULL,
          body BLOB NOT NULL
        ) STRICT;
        INSERT INTO mersal_sent (position, sent_at, id, type, transport, kind, name, partition_key, created_at, headers, body)
        SELECT position, sent_at, id, type, transport, kind, name, partition_key, created_at, headers, body
        FROM mersal_sent_before ORDER BY position;
        DROP TABLE mersal_sent_before;
        CREATE INDEX mersal_sent_age ON mersal_sent (sent_at);
        CREATE INDEX mersal_sent_position ON mersal_sent (position);
      `,
    },
  ],
}

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
    | 'retry'
    | 'release'
    | 'renew'
    | 'bury'
    | 'block'
    | 'prune',
    string
  >
> = {
  insert: `
    INSERT INTO mersal_outbox (visible_at, token, id, type, transport, kind, name, partition_key, created_at, headers, body)
    VALUES (:visibleAt, :token, :id, :type, :transport, :kind, :name, :partitionKey, :now, :headers, :body)`,

  openRowOfKey: 'SELECT 1 AS found FROM mersal_outbox WHERE partition_key = :partitionKey LIMIT 1',

  anyDue:
    'SELECT 1 AS found FROM mersal_outbox WHERE position >= :from AND position < :upTo AND visible_at <= :now LIMIT 1',

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

  retry:
    'UPDATE mersal_outbox SET visible_at = :visibleAt, token = NULL WHERE position = :position AND token = :token',

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
      (position, blocks, reason, error, maybe_published, died_at, attempts, created_at, id, type, transport, kind, name, partition_key, headers, body)
    SELECT position, :block AND partition_key IS NOT NULL, :reason, :error, :maybePublished, :now, attempts, created_at,
      id, type, transport, kind, name, partition_key, headers, body
    FROM mersal_outbox WHERE position = :position AND token = :token
    RETURNING blocks`,

  block:
    'UPDATE mersal_outbox SET visible_at = :never, token = NULL WHERE position = :position AND token = :token',

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
  list: listing('mersal_dead_letters', 'transport, kind, name, blocks, maybe_published'),

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
