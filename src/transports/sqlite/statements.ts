import { bytesOf, listing } from '../../sql/sqlite/bytes.ts'
import type { SqliteTables } from '../../sql/sqlite/migrate.ts'

// 9007199254740991 is the `visible_at` of a message that waits for an earlier one of its key: the
// largest whole number that is exact everywhere.

/** The tables of the queue. Times are milliseconds since the Unix epoch. */
export const queueTables: SqliteTables = {
  component: 'queue',
  name: 'sqlite',
  place: 'of the queue',
  steps: [
    {
      version: 1,
      name: 'queues, subscriptions, messages and dead letters',
      sql: `
        CREATE TABLE mersal_queues (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

        CREATE TABLE mersal_subscriptions (
          topic TEXT NOT NULL,
          queue TEXT NOT NULL,
          PRIMARY KEY (topic, queue)
        ) STRICT, WITHOUT ROWID;

        -- Of each key, only the first message of a queue can be taken; the others have the largest
        -- visible_at, and each gets its own due_at as soon as it is the first.
        CREATE TABLE mersal_queue_messages (
          position INTEGER PRIMARY KEY AUTOINCREMENT,
          queue TEXT NOT NULL,
          visible_at INTEGER NOT NULL,                -- nobody may take the message before
          due_at INTEGER NOT NULL,
          token TEXT,                                 -- of the present holder
          attempts INTEGER NOT NULL DEFAULT 0,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          partition_key TEXT,
          headers TEXT NOT NULL,                      -- JSON object of texts
          body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX mersal_queue_messages_due ON mersal_queue_messages (queue, visible_at, position);
        CREATE INDEX mersal_queue_messages_key ON mersal_queue_messages (queue, partition_key, position)
          WHERE partition_key IS NOT NULL;

        CREATE TABLE mersal_queue_dead_letters (
          key INTEGER PRIMARY KEY AUTOINCREMENT,
          queue TEXT NOT NULL,
          reason TEXT NOT NULL,
          error TEXT NOT NULL,
          died_at INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          id TEXT NOT NULL,
          type TEXT NOT NULL,
          partition_key TEXT,
          headers TEXT NOT NULL,
          body BLOB NOT NULL
        ) STRICT;
      `,
    },
    {
      version: 2,
      name: 'messages that wait',
      sql: `
        -- Since when a handler has been asking for the message again later; and why it should be a dead letter, if it could not be stored as one.
        ALTER TABLE mersal_queue_messages ADD COLUMN postponed_since INTEGER;
        ALTER TABLE mersal_queue_messages ADD COLUMN dead_reason TEXT;
        ALTER TABLE mersal_queue_messages ADD COLUMN dead_error TEXT;
      `,
    },
  ],
}

export const queueSql: Readonly<
  Record<
    | 'declare'
    | 'find'
    | 'postpone'
    | 'aside'
    | 'subscribe'
    | 'unsubscribe'
    | 'queue'
    | 'subscribers'
    | 'topics'
    | 'inUse'
    | 'unsubscribeAll'
    | 'removeQueue'
    | 'insert'
    | 'keyWaits'
    | 'insertTaken'
    | 'anyDue'
    | 'nextDue'
    | 'overview'
    | 'due'
    | 'take'
    | 'renew'
    | 'retry'
    | 'release'
    | 'remove'
    | 'successor'
    | 'promote'
    | 'bury'
    | 'listDead'
    | 'retryDead'
    | 'removeDead',
    string
  >
> = {
  declare: 'INSERT INTO mersal_queues (name) VALUES (:queue) ON CONFLICT DO NOTHING',
  find: 'SELECT name FROM mersal_queues WHERE name = :queue',
  subscribe:
    'INSERT INTO mersal_subscriptions (topic, queue) VALUES (:topic, :queue) ON CONFLICT DO NOTHING',
  unsubscribe: 'DELETE FROM mersal_subscriptions WHERE topic = :topic AND queue = :queue',

  queue: 'SELECT name FROM mersal_queues WHERE name = :name',
  inUse: `
    SELECT EXISTS (SELECT 1 FROM mersal_queue_messages WHERE queue = :queue) AS waiting,
      EXISTS (SELECT 1 FROM mersal_queue_dead_letters WHERE queue = :queue) AS dead`,
  unsubscribeAll: 'DELETE FROM mersal_subscriptions WHERE queue = :queue',
  removeQueue: 'DELETE FROM mersal_queues WHERE name = :queue',
  topics: 'SELECT topic FROM mersal_subscriptions WHERE queue = :queue ORDER BY topic',
  subscribers: 'SELECT queue AS name FROM mersal_subscriptions WHERE topic = :name ORDER BY queue',

  insert: `
    INSERT INTO mersal_queue_messages (queue, visible_at, due_at, id, type, partition_key, headers, body)
    VALUES (
      :queue,
      CASE WHEN EXISTS (
        SELECT 1 FROM mersal_queue_messages WHERE queue = :queue AND partition_key = :partitionKey
      ) THEN 9007199254740991 ELSE :dueAt END,
      :dueAt, :id, :type, :partitionKey, :headers, :body)`,

  keyWaits:
    'SELECT 1 AS found FROM mersal_queue_messages WHERE queue = :queue AND partition_key = :partitionKey LIMIT 1',
  /** Straight into the hands of a consumer. */
  insertTaken: `
    INSERT INTO mersal_queue_messages (queue, visible_at, due_at, token, attempts, id, type, partition_key, headers, body)
    VALUES (:queue, :until, :dueAt, :token, 1, :id, :type, :partitionKey, :headers, :body)`,

  anyDue:
    'SELECT 1 AS found FROM mersal_queue_messages WHERE queue = :queue AND visible_at <= :now LIMIT 1',
  nextDue: 'SELECT min(visible_at) AS at FROM mersal_queue_messages WHERE queue = :queue',

  /** The messages that come next, with the bytes that handing them out would read. */
  due: `
    SELECT position, iif(${bytesOf('m')} > :largest, 0, ${bytesOf('m')}) AS bytes
    FROM mersal_queue_messages m
    WHERE queue = :queue AND visible_at <= :now
    ORDER BY visible_at, position
    LIMIT :limit`,

  /**
   * Those at these positions, in the same transaction as `due`. One statement for both would cost
   * four times as much: SQLite makes three temporary tables for it, however few the messages are.
   * The content of a row that is too large is not handed out.
   */
  take: `
    UPDATE mersal_queue_messages
    SET visible_at = :until, token = :token, attempts = min(attempts, 1000000000) + 1
    WHERE position IN (SELECT value FROM json_each(:positions))
    RETURNING position, attempts, id, ${bytesOf('mersal_queue_messages')} AS bytes,
      iif(${bytesOf('mersal_queue_messages')} > :largest, substr(type, 1, 200), type) AS type,
      iif(${bytesOf('mersal_queue_messages')} > :largest, '{}', headers) AS headers,
      iif(${bytesOf('mersal_queue_messages')} > :largest, x'', body) AS body,
      postponed_since, dead_reason, dead_error`,

  renew:
    'UPDATE mersal_queue_messages SET visible_at = :until WHERE position = :position AND token = :token',
  retry:
    'UPDATE mersal_queue_messages SET visible_at = :visibleAt, token = NULL WHERE position = :position AND token = :token',
  postpone: `
    UPDATE mersal_queue_messages SET visible_at = :visibleAt, token = NULL, attempts = max(attempts - 1, 0), postponed_since = :since
    WHERE position = :position AND token = :token`,
  aside: `
    UPDATE mersal_queue_messages
    SET visible_at = :visibleAt, token = NULL, attempts = max(attempts - 1, 0), dead_reason = :reason, dead_error = :error
    WHERE position = :position AND token = :token`,
  release: `
    UPDATE mersal_queue_messages SET visible_at = :visibleAt, token = NULL, attempts = max(attempts - 1, 0)
    WHERE position = :position AND token = :token`,

  remove: `
    DELETE FROM mersal_queue_messages WHERE position = :position AND token = :token
    RETURNING queue, partition_key AS partitionKey`,

  successor: `
    SELECT 1 AS found FROM mersal_queue_messages m
    JOIN mersal_queue_messages n
      ON n.queue = m.queue AND n.partition_key = m.partition_key AND n.position > m.position
    WHERE m.position = :position LIMIT 1`,
  /** After a message of a key has gone, the next one of that key takes its turn. */
  promote: `
    UPDATE mersal_queue_messages SET visible_at = due_at
    WHERE visible_at = 9007199254740991 AND position = (
      SELECT position FROM mersal_queue_messages
      WHERE queue = :queue AND partition_key = :partitionKey
      ORDER BY position
      LIMIT 1)`,

  bury: `
    INSERT INTO mersal_queue_dead_letters (queue, reason, error, died_at, attempts, id, type, partition_key, headers, body)
    SELECT queue, :reason, :error, :now, attempts, id, type, partition_key, headers, body
    FROM mersal_queue_messages WHERE position = :position AND token = :token`,

  listDead: listing('mersal_queue_dead_letters', 'queue', 'AND (:queue IS NULL OR queue = :queue)'),
  /**
   * Puts a dead letter back behind everything else of its queue and key, without reading its bytes.
   */
  retryDead: `
    INSERT INTO mersal_queue_messages (queue, visible_at, due_at, id, type, partition_key, headers, body)
    SELECT queue,
      CASE WHEN EXISTS (
        SELECT 1 FROM mersal_queue_messages m WHERE m.queue = d.queue AND m.partition_key = d.partition_key
      ) THEN 9007199254740991 ELSE :now END,
      :now, id, type, partition_key, headers, body
    FROM mersal_queue_dead_letters d WHERE key = :key`,
  overview: `
    SELECT name AS queue,
      (SELECT count(*) FROM mersal_queue_dead_letters d WHERE d.queue = q.name) AS dead,
      (SELECT count(*) FROM mersal_queue_messages m WHERE m.queue = q.name) AS waiting
    FROM mersal_queues q ORDER BY name`,
  removeDead: 'DELETE FROM mersal_queue_dead_letters WHERE key = :key',
}
