import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { TransportOperations } from '../../core/operations.ts'
import type { Transport } from '../../core/transport.ts'
import { sharedHandleWarnings } from '../../sql/sqlite/connection/connect.ts'
import { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { sqliteSchemaControl } from '../../sql/sqlite/connection/schema-control.ts'
import {
  connectionSettings,
  type SqliteConnectionOptions,
  type SqliteHandle,
  type SqliteOpener,
  type SqlitePath,
} from '../../sql/sqlite/options.ts'
import { queueInDatabase } from '../queues/queue-in-database.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { queueOptionNames, queueSettings, type QueueSettings } from '../shared/settings.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { publishAll } from './publish.ts'
import { QueueRows } from './queue-rows.ts'
import { queueTables } from './statements.ts'
import type { TakenRow } from './taken.ts'
import { topologyOf } from './topology.ts'

/** Options of `sqliteQueue()`, besides `path`, `open` or `database`. */
export interface SqliteQueueOptions
  extends SqliteConnectionOptions,
    Pick<Partial<QueueSettings>, 'prefetch'> {
  /** Largest body plus headers, in bytes. From 1 to 500,000,000. Default 16 MiB. */
  readonly maxMessageBytes?: number
  /**
   * `refuse`: an event that no queue is subscribed to is unroutable. `discard`: it is confirmed and
   * dropped. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /**
   * A message whose consumer has died is delivered again after this time, in milliseconds. Renewed
   * while the consumer lives. From 30 to a day. Default 30000.
   */
  readonly visibilityMs?: number
  /**
   * Safety net: consumers look at least this often, in milliseconds. From 1 to an hour. Default
   * 1000.
   */
  readonly pollIntervalMs?: number
}

/**
 * A broker in a file: durable queues, subscriptions and dead letters, shared by the processes of
 * one machine.
 */
export interface SqliteQueue extends Transport {
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'examine'>>
}

/** After failures of the database. */
const PAUSE = { firstMs: 250, longestMs: 1000 }

/**
 * A transport whose broker is a database file; the file of the store or another one.
 *
 * Messages of one key arrive in the order of their publishing: the next one is delivered when the
 * one before has been acknowledged or rejected. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function sqliteQueue(
  options: SqliteQueueOptions &
    (SqlitePath | SqliteOpener<SqliteDatabase> | SqliteHandle<SqliteDatabase>),
): SqliteQueue {
  const where = 'sqliteQueue'
  const own = connectionSettings(where, options, queueOptionNames)
  const connection = new Connection('sqlite queue', own, queueTables)
  const settings = queueSettings(where, options, { largestBytes: 500_000_000 })
  const { logger, clock } = connection.settings
  const time = { logger, clock, random: Math.random }
  let closed = false
  const transport = queueInDatabase({
    name: 'sqlite',
    maxMessageBytes: settings.maxMessageBytes,
    pause: PAUSE,
    time,
    topology: topologyOf(connection),
    operations: {
      schema: sqliteSchemaControl(connection, queueTables),
      deadLetters: (queue) => queueDeadLetters(connection, queue),
      queues: () => queueOverviews(connection),
    },
    publish: (messages, { signal } = {}) => publishAll(connection, settings, messages, signal),
    read: (_, reading) =>
      new HeldQueue<TakenRow>({ ...settings, ...time, ...reading }, (state) => {
        return new QueueRows({ ...settings, connection, queue: reading.consumption.queue }, state)
      }),
    async ready() {
      if (closed) throw new MersalError('MERSAL_STORE_FAILED', 'sqlite queue: it has been closed')
    },
    async close(breakOff) {
      closed = true
      await breakOff()
      await connection.close()
    },
  })
  return { ...transport, warnings: sharedHandleWarnings(connection.settings, 'queue') }
}
