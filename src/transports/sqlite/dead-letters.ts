import type { DeadLetter, DeadLetterBox, DeadReason } from '../../core/dead-letter.ts'
import type { QueueOverview } from '../../core/operations.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { counterKey, countEach, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { bytes, withheld } from '../../sql/shared/rows.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import { queueSql } from './statements.ts'

interface DeadRow {
  readonly key: number
  readonly queue: string
  readonly reason: DeadReason
  readonly error: string
  readonly died_at: number
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly partition_key: string | null
  readonly headers: string
  readonly body: Uint8Array
  readonly withheld_bytes: number | null
}

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
          .all<DeadRow>(queueSql.listDead, { after, limit, queue: queue ?? null })
          .map(deadLetter),
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

function deadLetter(row: DeadRow): DeadLetter {
  return {
    key: String(row.key),
    direction: 'incoming',
    id: row.id,
    type: row.type,
    headers: decodeHeaders(row.headers) ?? {},
    body: bytes(row.body),
    place: row.queue,
    ...(row.partition_key === null ? {} : { partitionKey: row.partition_key }),
    reason: row.reason,
    error: row.error,
    attempts: row.attempts,
    diedAt: row.died_at,
    maybePublished: false,
    blocksKey: false,
    ...withheld(row),
  }
}

/** Every queue with what waits in it. */
export function queueOverviews(connection: Connection): Promise<readonly QueueOverview[]> {
  return connection.write((handle) =>
    handle.all<{ queue: string; dead: number; waiting: number }>(queueSql.overview),
  )
}
