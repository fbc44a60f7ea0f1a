import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { TransportOperations } from '../../core/operations.ts'
import type { Transport } from '../../core/transport.ts'
import { mysqlSchemaControl } from '../../sql/mysql/migrate.ts'
import { queueInDatabase } from '../queues/queue-in-database.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { Connection } from './connection.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { type MysqlQueueOptions, mysqlQueueSettings } from './options.ts'
import { publishAll } from './publish.ts'
import { QueueRows, type TakenRow } from './queue-rows.ts'
import { queueTables } from './schema.ts'
import { topologyOf } from './topology.ts'

/**
 * A broker in a database: durable queues, subscriptions and dead letters, shared by everybody who
 * reaches it.
 */
export interface MysqlQueue extends Transport {
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'examine'>>
}

/** After failures of the database. */
const PAUSE = { firstMs: 250, longestMs: 10_000 }

/**
 * A transport whose broker is a database of MariaDB 10.6 or MySQL 8.0.16, or newer; the one of the
 * store or another one.
 *
 * Messages of one key arrive in the order of their publishing: the next one is delivered when the
 * one before has been acknowledged or rejected. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function mysqlQueue(options: MysqlQueueOptions): MysqlQueue {
  const settings = mysqlQueueSettings(options)
  const connection = new Connection(settings)
  return queueInDatabase({
    name: 'mysql',
    maxMessageBytes: settings.maxMessageBytes,
    pause: PAUSE,
    time: settings,
    topology: topologyOf(connection),
    operations: {
      schema: mysqlSchemaControl(connection.bare, queueTables(settings.database)),
      deadLetters: (name) => queueDeadLetters(connection, name),
      queues: () => queueOverviews(connection),
    },
    publish: (messages, { signal } = {}) => publishAll(connection, messages, signal),
    read: (id, reading) =>
      new HeldQueue<TakenRow>({ ...settings, ...reading }, (state) => {
        return new QueueRows(connection, { name: reading.consumption.queue, id }, state)
      }),
    ready: () => connection.ready(),
    async close(breakOff) {
      const broken = breakOff()
      await connection.close()
      await broken
    },
  })
}
