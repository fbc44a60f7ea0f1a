import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import type { QueueRemoval } from '../../core/transport.ts'
import { sqlState } from '../../sql/postgres/failure.ts'
import { newQueueNumber } from '../queues/kept-queue.ts'
import type { QueueTopology } from '../queues/queue-in-database.ts'
import { checkNames } from '../shared/settings.ts'
import type { Connection } from './connection.ts'

export function topologyOf(connection: Connection): QueueTopology {
  const { own, sql } = connection
  return {
    subscribe: (queue, topics, remove) => subscribe(connection, { queue, topics, remove }),
    find: async (queue) =>
      (await own.run<{ id: number }>('looking for a queue', sql.find, [queue])).rows[0]?.id,
    async topicsOf(queue) {
      await connection.ready()
      const doing = 'reading subscriptions'
      const { rows } = await own.run<{ topic: string }>(doing, sql.topics, [queue])
      return rows.map(({ topic }) => topic)
    },
    remove: (queue) => remove(connection, queue),
  }
}

interface Wanted {
  readonly queue: string
  readonly topics: readonly string[]
  readonly remove: boolean
}

/** Returns the number of the queue. */
async function subscribe(connection: Connection, wanted: Wanted): Promise<number> {
  checkNames([wanted.queue, ...wanted.topics])
  try {
    return await declare(connection, wanted)
  } catch (error) {
    if (!outOfReach(error)) throw error
    const text = 'postgres queue: the database cannot be reached'
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause: error })
  }
}

async function declare(connection: Connection, { queue, topics, remove }: Wanted): Promise<number> {
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

/**
 * Removes the queue with its subscriptions. Whoever puts messages into queues has read these tables
 * in the same transaction, so the lock waits for all of them, and what they have put is counted.
 * Who gets the lock later finds no queue. It is given up before PostgreSQL would look for
 * deadlocks, so that nobody else's transaction is its victim.
 */
async function remove(connection: Connection, name: string): Promise<QueueRemoval> {
  await connection.ready()
  const { own, sql } = connection
  return await own.transaction('removing a queue', async (query) => {
    for (const statement of sql.lockQueues) await query(statement)
    const [found] = (
      await query<{ id: number; waiting: boolean; dead: boolean }>(sql.inUse, [name])
    ).rows
    if (found === undefined) return { kind: 'removed' }
    if (found.waiting) return { kind: 'kept', why: `messages are in '${name}'` }
    if (found.dead) return { kind: 'kept', why: `'${name}' has dead letters` }
    for (const statement of sql.removeQueue) await query(statement, [found.id])
    return { kind: 'removed' }
  })
}
