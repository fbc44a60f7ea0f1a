import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import type { QueueRemoval } from '../../core/transport.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import type { QueueTopology } from '../queues/queue-in-database.ts'
import { checkNames } from '../shared/settings.ts'
import { queueSql } from './statements.ts'

/** Rows name their queue, so that every queue has the same number. */
const NUMBER = 0

export function topologyOf(connection: Connection): QueueTopology {
  return {
    subscribe: (queue, topics, remove) => subscribe(connection, { queue, topics, remove }),
    find: async (queue) => ((await isThere(connection, queue)) ? NUMBER : undefined),
    topicsOf: (queue) =>
      connection.write((handle) =>
        handle.all<{ topic: string }>(queueSql.topics, { queue }).map(({ topic }) => topic),
      ),
    remove: (queue) => remove(connection, queue),
  }
}

/** Without a transaction where that is possible: it is asked again and again. */
async function isThere(connection: Connection, queue: string): Promise<boolean> {
  const look = (handle: Handle): unknown => handle.get(queueSql.find, { queue })
  return (connection.peek(look) ?? (await connection.write(look))) !== undefined
}

interface Wanted {
  readonly queue: string
  readonly topics: readonly string[]
  readonly remove: boolean
}

async function subscribe(
  connection: Connection,
  { queue, topics, remove }: Wanted,
): Promise<number> {
  checkNames([queue, ...topics])
  const declare = (handle: Handle): void => {
    handle.run(queueSql.declare, { queue })
    const sql = remove ? queueSql.unsubscribe : queueSql.subscribe
    for (const topic of topics) handle.run(sql, { topic, queue })
  }
  try {
    await connection.write(declare)
    return NUMBER
  } catch (cause) {
    // It may go well soon, as with a server that does not answer.
    if (!isMersalError(cause, 'MERSAL_STORE_BUSY')) throw cause
    const text = 'sqlite queue: another program holds the file'
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause })
  }
}

/** Removes the queue with its subscriptions, in the transaction that has looked into it. */
async function remove(connection: Connection, queue: string): Promise<QueueRemoval> {
  return await connection.write((handle) => {
    const found = handle.get<{ waiting: number; dead: number }>(queueSql.inUse, { queue })
    if (found?.waiting === 1) return { kind: 'kept', why: `messages are in '${queue}'` }
    if (found?.dead === 1) return { kind: 'kept', why: `'${queue}' has dead letters` }
    handle.run(queueSql.unsubscribeAll, { queue })
    handle.run(queueSql.removeQueue, { queue })
    return { kind: 'removed' }
  })
}
