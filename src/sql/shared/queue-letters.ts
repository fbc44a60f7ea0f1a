import type { DeadLetter, DeadReason } from '../../core/dead-letter.ts'
import { decodeHeaders } from '../headers.ts'
import { bytes, withheld } from './rows.ts'

/** A dead letter of a queue, as every dialect selects it. */
export interface QueueLetterRow {
  readonly key: string | number
  readonly queue: string
  readonly reason: string
  readonly error: string
  /** Milliseconds since the Unix epoch. */
  readonly died_at: string | number
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly partition_key: string | null
  readonly headers: string
  readonly body: Uint8Array
  readonly withheld_bytes: string | number | null
}

export function queueLetter(row: QueueLetterRow): DeadLetter {
  return {
    key: String(row.key),
    direction: 'incoming',
    id: row.id,
    type: row.type,
    headers: decodeHeaders(row.headers) ?? {},
    body: bytes(row.body),
    place: row.queue,
    ...(row.partition_key === null ? {} : { partitionKey: row.partition_key }),
    reason: row.reason as DeadReason,
    error: row.error,
    attempts: row.attempts,
    history: [],
    diedAt: Math.round(Number(row.died_at)),
    maybePublished: false,
    blocksKey: false,
    ...withheld(row),
  }
}
