import type { QueueRemoval } from '../../core/transport.ts'
import type { Connection } from './connection.ts'

/**
 * Removes the queue with its subscriptions. Whoever puts messages into queues has read these tables
 * in the same transaction, so the lock waits for all of them, and what they have put is counted.
 * Who gets the lock later finds no queue. It is given up before PostgreSQL would look for
 * deadlocks, so that nobody else's transaction is its victim.
 */
export async function removeQueue(connection: Connection, name: string): Promise<QueueRemoval> {
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
