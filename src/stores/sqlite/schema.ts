import type { SqliteTables } from '../../sql/sqlite/migrate.ts'

/**
 * `visible_at` of a row that nobody takes before it is put right: the largest whole number that is
 * exact everywhere.
 */
export const NEVER: number = Number.MAX_SAFE_INTEGER

/**
 * The tables of the store. Times are milliseconds since the Unix epoch.
 *
 * The body comes behind all that scans look at, so that they do not touch its pages. There is no
 * index on `visible_at`: the claim reads in the order of positions and takes what is due. `due_at`
 * never changes while a relay works on the row, so its index costs undelayed messages nothing.
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
    {
      version: 4,
      name: 'times of delayed messages',
      sql: `
        ALTER TABLE mersal_outbox ADD COLUMN due_at INTEGER; -- when the delay of its sender ends; null without one
        CREATE INDEX mersal_outbox_due ON mersal_outbox (due_at) WHERE due_at IS NOT NULL;
      `,
    },
    {
      version: 5,
      name: 'ids of delayed messages',
      sql: `
        CREATE INDEX mersal_outbox_delayed ON mersal_outbox (id) WHERE due_at IS NOT NULL;
      `,
    },
    {
      version: 6,
      name: 'history of attempts',
      sql: `
        ALTER TABLE mersal_outbox ADD COLUMN history TEXT; -- the attempts that failed, as JSON; null while none has
        ALTER TABLE mersal_dead_letters ADD COLUMN history TEXT;
      `,
    },
  ],
}
