import type { DeadLetter, DeadLetterBox, DeadReason } from '../../core/dead-letter.ts'
import type { QueueOverview } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import type { Connection } from './connection.ts'
import { idsOf } from './publish.ts'

interface DeadRow {
  readonly number: string
  readonly queue: string
  readonly reason: string
  readonly error: string
  readonly died_ms: string
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly key: string | null
  readonly headers: string
  readonly body: Uint8Array
  readonly withheld_bytes: string | null
}

/** Only what can be a number of a dead letter; anything else names none. */
function numbers(keys: readonly string[]): string[] {
  return keys.filter((key) => /^\d{1,18}$/.test(key))
}

/** Messages that their consumers have given up, of one queue or of all. */
export function queueDeadLetters(connection: Connection, queue?: string): DeadLetterBox {
  const { own, sql } = connection
  return {
    async list({ limit, after } = {}) {
      const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
      if (after !== undefined && numbers([after]).length === 0) return []
      await connection.ready()
      const { rows } = await own.run<DeadRow>('listing dead letters', sql.deadList, [
        most,
        after ?? '-1',
        queue ?? null,
      ])
      return rows.map(deadLetter)
    },
    async retry(keys) {
      await connection.ready()
      const { rows } = await own.run<{ retried: string; queue_ids: string }>(
        'retrying dead letters',
        sql.deadRetry,
        [numbers(keys)],
      )
      connection.ring(idsOf(rows[0]?.queue_ids))
      return Number(rows[0]?.retried ?? 0)
    },
    async discard(keys) {
      await connection.ready()
      return (
        (await own.run('discarding dead letters', sql.deadDiscard, [numbers(keys)])).rowCount ?? 0
      )
    },
  }
}

function deadLetter(row: DeadRow): DeadLetter {
  return {
    key: row.number,
    direction: 'incoming',
    id: row.id,
    type: row.type,
    headers: decodeHeaders(row.headers) ?? {},
    body: row.body,
    place: row.queue,
    ...(row.key === null ? {} : { partitionKey: row.key }),
    reason: row.reason as DeadReason,
    error: row.error,
    attempts: row.attempts,
    diedAt: Math.round(Number(row.died_ms)),
    maybePublished: false,
    blocksKey: false,
    ...(row.withheld_bytes === null ? {} : { withheldBytes: Number(row.withheld_bytes) }),
  }
}

/** Every queue with what waits in it. Counts whole tables. */
export async function queueOverviews(connection: Connection): Promise<readonly QueueOverview[]> {
  await connection.ready()
  const { own, sql } = connection
  const { rows } = await own.run<{ queue: string; dead: string; waiting: string }>(
    'counting queues',
    sql.overview,
    [],
  )
  return rows.map(({ queue, dead, waiting }) => ({
    queue,
    dead: Number(dead),
    waiting: Number(waiting),
  }))
}
