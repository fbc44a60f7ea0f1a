import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import type { TransportOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Consumption, Transport } from '../../core/transport.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle, SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { sharedHandleWarnings } from '../../sql/sqlite/connection/connect.ts'
import {
  connectionSettings,
  type SqliteConnectionOptions,
  type SqliteHandle,
  type SqliteOpener,
  type SqlitePath,
} from '../../sql/sqlite/options.ts'
import { sqliteSchemaControl } from '../../sql/sqlite/connection/schema-control.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { publishAll } from './publish.ts'
import { KeptQueue, Subscribed } from '../queues/kept-queue.ts'
import { consumers } from '../shared/consumers.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import {
  checkNames,
  queueOptionNames,
  type QueueSettings,
  queueSettings,
} from '../shared/settings.ts'
import { QueueRows } from './queue-rows.ts'
import { removeQueue } from './remove-queue.ts'
import { queueTables, queueSql } from './statements.ts'
import type { TakenRow } from './taken.ts'

/** Options of `sqliteQueue()`, besides `path`, `open` or `database`. */
export interface SqliteQueueOptions extends SqliteConnectionOptions {
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
  const connection = new Connection(
    'sqlite queue',
    connectionSettings(where, options, queueOptionNames),
    queueTables,
  )
  const settings = queueSettings(where, options, { largestBytes: 500_000_000 })
  const { maxMessageBytes } = settings
  const running = consumers()
  const subscribed = new Subscribed()
  let closed = false
  return {
    name: 'sqlite',
    features: { ordering: 'per-key', orderPerKey: 'always', maxMessageBytes },
    warnings: sharedHandleWarnings(connection.settings, 'queue'),
    deadLetters: queueDeadLetters(connection),
    deadLettersOf: (queue) => queueDeadLetters(connection, queue),
    operations: {
      schema: sqliteSchemaControl(connection, queueTables),
      deadLetters: (queue) => queueDeadLetters(connection, queue),
      queues: () => queueOverviews(connection),
    },
    publish(messages, { signal } = {}) {
      return publishAll(connection, settings, messages, signal)
    },
    async subscribe(queue, topics, { remove = false } = {}) {
      await subscribe(connection, queue, topics, remove)
      subscribed.note(queue, topics, remove)
    },
    topicsOf: (queue) =>
      connection.write((handle) =>
        handle.all<{ topic: string }>(queueSql.topics, { queue }).map(({ topic }) => topic),
      ),
    removeQueue: (queue) => removeQueue(connection, queue),
    async consume(consumption, onDelivery) {
      await subscribe(connection, consumption.queue, [], false)
      if (closed) throw new MersalError('MERSAL_STORE_FAILED', 'sqlite queue: it has been closed')
      checkNumber('concurrency', consumption.concurrency, { default: 1, min: 1, max: 100_000 })
      const topics = (): readonly string[] => subscribed.of(consumption.queue)
      const consumer = readerOf(connection, settings, topics, { consumption, onDelivery })
      return running.add(consumer)
    },
    async [Symbol.asyncDispose]() {
      closed = true
      await running.breakOff()
      await connection.close()
    },
  }
}

function clockwork({ settings: { logger, clock } }: Connection): {
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
} {
  return { logger, clock, random: Math.random }
}

function readerOf(
  connection: Connection,
  settings: QueueSettings,
  topics: () => readonly string[],
  asked: { readonly consumption: Consumption; readonly onDelivery: OnDelivery },
): KeptQueue {
  const { queue } = asked.consumption
  const time = clockwork(connection)
  // Rows name their queue, so that every queue has the same number.
  return new KeptQueue(0, {
    ...time,
    queue,
    find: async () => ((await isThere(connection, queue)) ? 0 : undefined),
    async declare() {
      await subscribe(connection, queue, topics(), false)
      return 0
    },
    open: (_, look) =>
      new HeldQueue<TakenRow>(
        { ...settings, ...time, ...asked, name: 'sqlite queue', pause: PAUSE, look },
        (state) => new QueueRows({ ...settings, connection, queue }, state),
      ),
  })
}

/** Without a transaction where that is possible: it is asked again and again. */
async function isThere(connection: Connection, queue: string): Promise<boolean> {
  const look = (handle: Handle): unknown => handle.get(queueSql.find, { queue })
  return (connection.peek(look) ?? (await connection.write(look))) !== undefined
}

async function subscribe(
  connection: Connection,
  queue: string,
  topics: readonly string[],
  remove: boolean,
): Promise<void> {
  checkNames([queue, ...topics])
  const declare = (handle: Handle): void => {
    handle.run(queueSql.declare, { queue })
    const sql = remove ? queueSql.unsubscribe : queueSql.subscribe
    for (const topic of topics) handle.run(sql, { topic, queue })
  }
  try {
    await connection.write(declare)
  } catch (cause) {
    // It may go well soon, as with a server that does not answer.
    if (!isMersalError(cause, 'MERSAL_STORE_BUSY')) throw cause
    const text = 'sqlite queue: another program holds the file'
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause })
  }
}
