import type { QueueRemoval } from '../../core/transport.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import { queueSql } from './statements.ts'

/** Removes the queue with its subscriptions, in the transaction that has looked into it. */
export async function removeQueue(connection: Connection, queue: string): Promise<QueueRemoval> {
  return await connection.write((handle) => {
    const found = handle.get<{ waiting: number; dead: number }>(queueSql.inUse, { queue })
    if (found?.waiting === 1) return { kind: 'kept', why: `messages are in '${queue}'` }
    if (found?.dead === 1) return { kind: 'kept', why: `'${queue}' has dead letters` }
    handle.run(queueSql.unsubscribeAll, { queue })
    handle.run(queueSql.removeQueue, { queue })
    return { kind: 'removed' }
  })
}
