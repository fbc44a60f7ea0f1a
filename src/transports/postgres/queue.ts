import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import type { TransportOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import type { Consumption, Transport } from '../../core/transport.ts'
import { postgresSchemaControl } from '../../sql/postgres/migrate.ts'
import { sqlState } from '../../sql/postgres/failure.ts'
import { Connection } from './connection.ts'
import { queueDeadLetters, queueOverviews } from './dead-letters.ts'
import { type PostgresQueueOptions, postgresQueueSettings } from './options.ts'
import { publishAll } from './publish.ts'
import { removeQueue } from './remove-queue.ts'
import { queueTables } from './schema.ts'
import { queueBesideOutbox } from './straight.ts'
import { KeptQueue, newQueueNumber, Subscribed } from '../queues/kept-queue.ts'
import { consumers } from '../shared/consumers.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { HeldQueue } from '../shared/held-queue.ts'
import { checkNames } from '../shared/settings.ts'
import { QueueRows } from './queue-rows.ts'
import type { TakenRow } from './taken.ts'

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
  const running = consumers()
  const subscribed = new Subscribed()
  return {
    name: 'postgres',
    features: {
      ordering: 'per-key',
      orderPerKey: 'always',
      maxMessageBytes: settings.maxMessageBytes,
    },
    ...(settings.straight ? { straight: queueBesideOutbox(connection) } : {}),
    deadLetters: queueDeadLetters(connection),
    deadLettersOf: (queue) => queueDeadLetters(connection, queue),
    operations: {
      schema: postgresSchemaControl(connection.own, queueTables(settings.schema)),
      deadLetters: (queue) => queueDeadLetters(connection, queue),
      queues: () => queueOverviews(connection),
    },
    publish: (messages, { signal } = {}) => publishAll(connection, messages, signal),
    subscribe: async (queue, topics, { remove = false } = {}) => {
      await subscribe(connection, queue, topics, remove)
      subscribed.note(queue, topics, remove)
    },
    async topicsOf(queue) {
      await connection.ready()
      const { rows } = await connection.own.run<{ topic: string }>(
        'reading subscriptions',
        connection.sql.topics,
        [queue],
      )
      return rows.map(({ topic }) => topic)
    },
    removeQueue: (queue) => removeQueue(connection, queue),
    async consume(consumption, onDelivery) {
      checkNumber('concurrency', consumption.concurrency, { default: 1, min: 1, max: 100_000 })
      const id = await subscribe(connection, consumption.queue, [], false)
      await connection.ready() // closed meanwhile?
      const topics = (): readonly string[] => subscribed.of(consumption.queue)
      const consumer = readerOf(connection, id, topics, { consumption, onDelivery })
      return running.add(consumer)
    },
    async [Symbol.asyncDispose]() {
      const closing = connection.close()
      await running.breakOff()
      await closing
    },
  }
}

function readerOf(
  connection: Connection,
  first: number,
  topics: () => readonly string[],
  asked: { readonly consumption: Consumption; readonly onDelivery: OnDelivery },
): KeptQueue {
  const { settings, own, sql } = connection
  const { queue: name } = asked.consumption
  return new KeptQueue(first, {
    ...settings,
    queue: name,
    find: async () =>
      (await own.run<{ id: number }>('looking for a queue', sql.find, [name])).rows[0]?.id,
    declare: () => declare(connection, name, topics(), false),
    open: (id, look) =>
      new HeldQueue<TakenRow>(
        { ...settings, ...asked, name: 'postgres queue', pause: PAUSE, look },
        (state) => new QueueRows(connection, { name, id }, state),
      ),
  })
}

/** Returns the number of the queue. */
async function subscribe(
  connection: Connection,
  queue: string,
  topics: readonly string[],
  remove: boolean,
): Promise<number> {
  checkNames([queue, ...topics])
  try {
    return await declare(connection, queue, topics, remove)
  } catch (error) {
    throw outOfReach(error)
      ? new MersalError('MERSAL_UNAVAILABLE', 'postgres queue: the database cannot be reached', {
          cause: error,
        })
      : error
  }
}

async function declare(
  connection: Connection,
  queue: string,
  topics: readonly string[],
  remove: boolean,
): Promise<number> {
  await connection.ready()
  const { own, sql } = connection
  return await own.transaction('declaring a queue', async (query) => {
    const find = async (): Promise<number | undefined> =>
      (await query<{ id: number }>(sql.find, [queue])).rows[0]?.id
    let id = await find()
    while (id === undefined) {
      await query(sql.declare, [queue, newQueueNumber()])
      id = await find()
    }
    if (topics.length > 0) await query(remove ? sql.unsubscribe : sql.subscribe, [topics, id])
    return id
  })
}

/**
 * No answer, no connection, or a server that starts or stops: it may be well soon. Everything else
 * needs a person.
 */
function outOfReach(error: unknown): boolean {
  if (isMersalError(error, 'MERSAL_STORE_BUSY')) return true
  if (!isMersalError(error, 'MERSAL_STORE_FAILED') || error.cause === undefined) return false
  const state = sqlState(error.cause)
  return state === undefined || ['08', '53', '57'].includes(state.slice(0, 2))
}
