import { MersalError } from '../../core/errors/errors.ts'
import type { QueueRemoval } from '../../core/transport.ts'
import { bytesOf, textOf } from '../../sql/mysql/bytes.ts'
import { isOutOfReach } from '../../sql/mysql/failure.ts'
import { onlyRow, type Query } from '../../sql/mysql/own.ts'
import { newQueueNumber } from '../queues/kept-queue.ts'
import type { QueueTopology } from '../queues/queue-in-database.ts'
import { checkNames } from '../shared/settings.ts'
import type { Connection } from './connection.ts'

export function topologyOf(connection: Connection): QueueTopology {
  return {
    subscribe: (queue, topics, remove) => subscribe(connection, { queue, topics, remove }),
    find: (queue) => find(connection, queue),
    topicsOf: (queue) => topicsOf(connection, queue),
    remove: (queue) => remove(connection, queue),
  }
}

/** Returns the number of the queue. */
async function subscribe(connection: Connection, wanted: Wanted): Promise<number> {
  checkNames([wanted.queue, ...wanted.topics])
  try {
    const own = await connection.ready()
    return await own.transaction('declaring a queue', (query) => declare(query, connection, wanted))
  } catch (error) {
    if (!isOutOfReach(error)) throw error
    const text = 'mysql queue: the database cannot be reached'
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause: error })
  }
}

interface Wanted {
  readonly queue: string
  readonly topics: readonly string[]
  readonly remove: boolean
}

async function declare(
  query: Query,
  { sql }: Connection,
  { queue, topics, remove }: Wanted,
): Promise<number> {
  const find = async (): Promise<number | undefined> => {
    const [row] = (await query<{ id: unknown }>(sql.find, [bytesOf(queue)])).rows
    return row === undefined ? undefined : Number(row.id)
  }
  let id = await find()
  while (id === undefined) {
    await query(sql.declare, [bytesOf(queue), newQueueNumber()])
    id = await find()
  }
  if (topics.length > 0 && remove) await query(sql.unsubscribe, [topics.map(bytesOf), id])
  else for (const topic of topics) await query(sql.subscribe, [bytesOf(topic), id])
  return id
}

/** The number of the queue; undefined if there is none. */
async function find(connection: Connection, queue: string): Promise<number | undefined> {
  const own = await connection.ready()
  const { rows } = await own.run<{ id: unknown }>('looking for a queue', connection.sql.find, [
    bytesOf(queue),
  ])
  return rows[0] === undefined ? undefined : Number(rows[0].id)
}

async function topicsOf(connection: Connection, queue: string): Promise<string[]> {
  const own = await connection.ready()
  const { rows } = await own.run<{ topic: unknown }>(
    'reading subscriptions',
    connection.sql.topics,
    [bytesOf(queue)],
  )
  return rows.map(({ topic }) => textOf(topic))
}

/**
 * Removes the queue with its subscriptions. Whoever puts messages into it has locked its row until
 * the commit, so that what they have put is counted. Who comes later finds no queue.
 */
async function remove(connection: Connection, name: string): Promise<QueueRemoval> {
  const own = await connection.ready()
  const { sql } = connection
  return await own.transaction('removing a queue', async (query): Promise<QueueRemoval> => {
    const [found] = (await query<{ id: unknown }>(sql.lockQueue, [bytesOf(name)])).rows
    if (found === undefined) return { kind: 'removed' }
    const id = Number(found.id)
    const used = await query<{ waiting: unknown; dead: unknown }>(sql.inUse, [id, id])
    const { waiting, dead } = onlyRow(used)
    if (Number(waiting) === 1) return { kind: 'kept', why: `messages are in '${name}'` }
    if (Number(dead) === 1) return { kind: 'kept', why: `'${name}' has dead letters` }
    await query(sql.unsubscribeAll, [id])
    await query(sql.removeQueue, [id])
    return { kind: 'removed' }
  })
}
