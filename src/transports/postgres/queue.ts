import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { TransportOperations } from '../../core/operations.ts'
import type { Transport } from '../../core/transport.ts'
import { postgresSchemaControl } from '../../sql/postgres/migrate.ts'
import { queueInDatabase } from '../queues/queue-in-database.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { Connection } from './connection.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { type PostgresQueueOptions, postgresQueueSettings } from './options.ts'
import { publishAll } from './publish.ts'
import { QueueRows } from './queue-rows.ts'
import { queueTables } from './schema.ts'
import { queueBesideOutbox } from './straight.ts'
import type { TakenRow } from './taken.ts'
import { topologyOf } from './topology.ts'

/**
 * A broker in a database: durable queues, subscriptions and dead letters, shared by everybody who
 * reaches it.
 */
export interface PostgresQueue extends Transport {
  readonly deadLetters: DeadLetterBox
  /** Dead letters of one queue. */
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Required<Omit<TransportOperations, 'examine'>>
}

/** After failures of the database. */
const PAUSE = { firstMs: 250, longestMs: 10_000 }

/**
 * A transport whose broker is a PostgreSQL database; the one of the store or another one.
 *
 * Messages of one key arrive in the order of their publishing: the next one is delivered when the
 * one before has been acknowledged or rejected. An app whose store is in the same schema of the
 * same database puts its messages into the queue in its own transactions. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function postgresQueue(options: PostgresQueueOptions): PostgresQueue {
  const settings = postgresQueueSettings(options)
  const connection = new Connection(settings)
  const queue = queueInDatabase({
    name: 'postgres',
    maxMessageBytes: settings.maxMessageBytes,
    pause: PAUSE,
    time: settings,
    topology: topologyOf(connection),
    operations: {
      schema: postgresSchemaControl(connection.own, queueTables(settings.schema)),
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
      const closing = connection.close()
      await breakOff()
      await closing
    },
  })
  return settings.straight ? { ...queue, straight: queueBesideOutbox(connection) } : queue
}
