import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { TransportOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import type { Transport } from '../../core/transport.ts'
import { mysqlSchemaControl } from '../../sql/mysql/migrate.ts'
import { KeptQueue, Subscribed } from '../queues/kept-queue.ts'
import { consumers } from '../shared/consumers.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { Connection } from './connection.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { type MysqlQueueOptions, mysqlQueueSettings } from './options.ts'
import { publishAll } from './publish.ts'
import { QueueRows, type TakenRow } from './queue-rows.ts'
import { queueTables } from './schema.ts'
import { findQueue, removeQueue, subscribe, topicsOf } from './topology.ts'

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
  const running = consumers()
  const subscribed = new Subscribed()
  return {
    name: 'mysql',
    features: {
      ordering: 'per-key',
      orderPerKey: 'always',
      maxMessageBytes: settings.maxMessageBytes,
    },
    deadLetters: queueDeadLetters(connection),
    deadLettersOf: (queue) => queueDeadLetters(connection, queue),
    operations: {
      schema: mysqlSchemaControl(connection.bare, queueTables(settings.database)),
      deadLetters: (queue) => queueDeadLetters(connection, queue),
      queues: () => queueOverviews(connection),
    },
    publish: (messages, { signal } = {}) => publishAll(connection, messages, signal),
    subscribe: async (queue, topics, { remove = false } = {}) => {
      await subscribe(connection, queue, topics, remove)
      subscribed.note(queue, topics, remove)
    },
    topicsOf: (queue) => topicsOf(connection, queue),
    removeQueue: (queue) => removeQueue(connection, queue),
    async consume(consumption, onDelivery) {
      checkNumber('concurrency', consumption.concurrency, { default: 1, min: 1, max: 100_000 })
      const id = await subscribe(connection, consumption.queue, [], false)
      await connection.ready() // closed meanwhile?
      const { queue: name } = consumption
      const consumer = new KeptQueue(id, {
        ...settings,
        queue: name,
        find: () => findQueue(connection, name),
        declare: () => subscribe(connection, name, subscribed.of(name), false),
        open: (id, look) =>
          new HeldQueue<TakenRow>(
            { ...settings, name: 'mysql queue', consumption, onDelivery, pause: PAUSE, look },
            (state) => new QueueRows(connection, { name, id }, state),
          ),
      })
      return running.add(consumer)
    },
    async [Symbol.asyncDispose]() {
      const broken = running.breakOff()
      await connection.close()
      await broken
    },
  }
}
