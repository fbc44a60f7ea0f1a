import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { QueueOverview } from '../../core/operations.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { counterKey, countEach, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { queueLetter, type QueueLetterRow } from '../../sql/shared/queue-letters.ts'
import { queueSql } from './statements.ts'

/** Messages that their consumers have given up, of one queue or of all. */
export function queueDeadLetters(connection: Connection, queue?: string): DeadLetterBox {
  const { clock } = connection.settings
  return deadLetterBox<number>({
    parse: counterKey,
    first: 0,
    changed: () => connection.notify('queue'),
    list: (after, limit) =>
      connection.write((handle) =>
        handle
          .all<QueueLetterRow>(queueSql.listDead, { after, limit, queue: queue ?? null })
          .map(queueLetter),
      ),
    retry: (keys) =>
      connection.write((handle) => countEach(keys, (key) => retry(handle, key, clock.now()))),
    discard: (keys) =>
      connection.write((handle) =>
        countEach(keys, (key) => handle.run(queueSql.removeDead, { key }).changes > 0),
      ),
  })
}

function retry(handle: Handle, key: number, now: number): boolean {
  if (handle.run(queueSql.retryDead, { key, now: Math.trunc(now) }).changes === 0) return false
  handle.run(queueSql.removeDead, { key })
  return true
}

/** Every queue with what waits in it. */
export function queueOverviews(connection: Connection): Promise<readonly QueueOverview[]> {
  return connection.write((handle) =>
    handle.all<{ queue: string; dead: number; waiting: number }>(queueSql.overview),
  )
}
