import type { Schema } from './migrate.ts'

/** `visible_at` of a row that nobody takes before it is put right: the largest whole number that is exact everywhere. */
export const NEVER: number = Number.MAX_SAFE_INTEGER

/**
 * The tables of the store. Times are milliseconds since the Unix epoch.
 *
 * The body is the last column, so that scans do not touch its pages. There is no index on
 * `visible_at`: the claim reads in the order of positions and takes what is due.
 */
export const storeSchema: Schema = {
  component: 'store',
  migrations: [
    {
      id: 1,
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
      id: 2,
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
  ],
}

export const outboxSql = {
  insert: `
    INSERT INTO mersal_outbox (visible_at, token, id, type, transport, kind, name, partition_key, created_at, headers, body)
    VALUES (:visibleAt, :token, :id, :type, :transport, :kind, :name, :partitionKey, :now, :headers, :body)`,

  openRowOfKey: 'SELECT 1 AS found FROM mersal_outbox WHERE partition_key = :partitionKey LIMIT 1',

  anyDue: 'SELECT 1 AS found FROM mersal_outbox WHERE position >= :from AND visible_at <= :now LIMIT 1',

  /**
   * `taken` has the head test: the first open row of the key must be takeable by this claim, else rows
   * behind a blocked one would fill the limit for ever. `gap` finds, per key, the first earlier row that
   * is not taken; rows behind it stay. Only one connection writes at a time, so nothing moves meanwhile.
   */
  claim: `
    WITH taken AS MATERIALIZED (
      SELECT o.position, o.partition_key
      FROM mersal_outbox o
      WHERE o.position >= :from
        AND o.position < coalesce((
          SELECT far.position
          FROM mersal_outbox far
          WHERE :reach >= 0 AND far.position >= :from AND far.visible_at <= :now
            AND (:except = '[]' OR far.transport || '/' || far.kind || '/' || far.name NOT IN (SELECT value FROM json_each(:except)))
            AND (far.partition_key IS NULL OR :exceptKeys = '[]' OR far.partition_key NOT IN (SELECT value FROM json_each(:exceptKeys)))
          ORDER BY far.position
          LIMIT 1 OFFSET max(:reach, 0)), 9223372036854775807)
        AND o.visible_at <= :now
        AND (:except = '[]' OR o.transport || '/' || o.kind || '/' || o.name NOT IN (SELECT value FROM json_each(:except)))
        AND (o.partition_key IS NULL OR :exceptKeys = '[]' OR o.partition_key NOT IN (SELECT value FROM json_each(:exceptKeys)))
        AND (o.partition_key IS NULL OR (
          SELECT head.position >= :from
            AND head.visible_at <= :now
            AND (:except = '[]' OR head.transport || '/' || head.kind || '/' || head.name NOT IN (SELECT value FROM json_each(:except)))
          FROM mersal_outbox head
          WHERE head.partition_key = o.partition_key
          ORDER BY head.position
          LIMIT 1))
      ORDER BY o.position
      LIMIT :limit
    ), run AS MATERIALIZED (
      SELECT partition_key, max(position) AS last FROM taken WHERE partition_key IS NOT NULL GROUP BY partition_key
    ), gap AS MATERIALIZED (
      SELECT run.partition_key, (
        SELECT earlier.position
        FROM mersal_outbox earlier
        WHERE earlier.partition_key = run.partition_key
          AND earlier.position < run.last
          AND earlier.position NOT IN (SELECT position FROM taken)
        ORDER BY earlier.position
        LIMIT 1) AS position
      FROM run
    )
    UPDATE mersal_outbox
    SET visible_at = :until, token = :token, attempts = min(attempts, 1000000000) + 1
    WHERE position IN (
      SELECT taken.position
      FROM taken LEFT JOIN gap ON gap.partition_key = taken.partition_key
      WHERE gap.position IS NULL OR taken.position < gap.position)
    RETURNING position, attempts, id, type, transport, kind, name, partition_key, headers, body`,

  keepSent: `
    INSERT INTO mersal_sent (position, sent_at, id, type, transport, kind, name, partition_key, created_at, headers, body)
    SELECT position, :now, id, type, transport, kind, name, partition_key, created_at, headers, body
    FROM mersal_outbox WHERE position = :position AND token = :token`,

  remove: 'DELETE FROM mersal_outbox WHERE position = :position AND token = :token',

  retry: 'UPDATE mersal_outbox SET visible_at = :visibleAt, token = NULL WHERE position = :position AND token = :token',

  release: `
    UPDATE mersal_outbox SET visible_at = :visibleAt, token = NULL, attempts = max(attempts - 1, 0)
    WHERE position = :position AND token = :token`,

  bury: `
    INSERT INTO mersal_dead_letters
      (position, blocks, reason, error, maybe_published, died_at, attempts, id, type, transport, kind, name, partition_key, headers, body)
    SELECT position, :block AND partition_key IS NOT NULL, :reason, :error, :maybePublished, :now, attempts,
      id, type, transport, kind, name, partition_key, headers, body
    FROM mersal_outbox WHERE position = :position AND token = :token
    RETURNING blocks`,

  block: 'UPDATE mersal_outbox SET visible_at = :never, token = NULL WHERE position = :position AND token = :token',

  prune: `
    DELETE FROM mersal_sent
    WHERE position IN (SELECT position FROM mersal_sent WHERE sent_at <= :before ORDER BY sent_at LIMIT :limit)`,
} as const

export const inboxSql = {
  track: `
    INSERT INTO mersal_inbox (consumer, message_id, handled_at) VALUES (:consumer, :messageId, :now)
    ON CONFLICT (consumer, message_id) DO NOTHING`,

  prune: `
    DELETE FROM mersal_inbox
    WHERE (consumer, message_id) IN (
      SELECT consumer, message_id FROM mersal_inbox WHERE handled_at < :before ORDER BY handled_at LIMIT :limit)`,
} as const

export const adminSql = {
  list: 'SELECT * FROM mersal_dead_letters WHERE key > :after ORDER BY key LIMIT :limit',

  /** A dead letter that left its place comes back at the end, with a new position. */
  reinsert: `
    INSERT INTO mersal_outbox (visible_at, id, type, transport, kind, name, partition_key, created_at, headers, body)
    SELECT :now, id, type, transport, kind, name, partition_key, :now, headers, body
    FROM mersal_dead_letters WHERE key = :key`,

  /** One that kept its place goes on from there. */
  unblock: 'UPDATE mersal_outbox SET visible_at = :now, attempts = 0 WHERE position = :position',

  removeBlocking: 'DELETE FROM mersal_outbox WHERE position = :position',

  find: 'SELECT position, blocks FROM mersal_dead_letters WHERE key = :key',

  remove: 'DELETE FROM mersal_dead_letters WHERE key = :key',

  stats: `
    SELECT
      count(*) - (SELECT count(*) FROM mersal_dead_letters WHERE blocks = 1) AS pending,
      count(*) FILTER (WHERE token IS NOT NULL AND visible_at > :now) AS claimed,
      (SELECT count(*) FROM mersal_dead_letters) AS dead,
      min(visible_at) FILTER (WHERE visible_at <= :now) AS oldest_due
    FROM mersal_outbox`,
} as const
