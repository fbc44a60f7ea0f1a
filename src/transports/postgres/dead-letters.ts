import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { QueueOverview } from '../../core/operations.ts'
import { counterKey, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { queueLetter, type QueueLetterRow } from '../../sql/shared/queue-letters.ts'
import type { Connection } from './connection.ts'
import { idsOf } from './publish.ts'

/** Messages that their consumers have given up, of one queue or of all. */
export function queueDeadLetters(connection: Connection, queue?: string): DeadLetterBox {
  const { own, sql } = connection
  return deadLetterBox<number>({
    parse: counterKey,
    first: 0,
    changed: () => {},
    async list(after, limit) {
      await connection.ready()
      const values = [limit, after, queue ?? null]
      const { rows } = await own.run<QueueLetterRow>('listing dead letters', sql.deadList, values)
      return rows.map(queueLetter)
    },
    async retry(keys) {
      await connection.ready()
      const { rows } = await own.run<{ retried: string; queue_ids: string }>(
        'retrying dead letters',
        sql.deadRetry,
        [keys],
      )
      connection.ring(idsOf(rows[0]?.queue_ids))
      return Number(rows[0]?.retried ?? 0)
    },
    async discard(keys) {
      await connection.ready()
      return (await own.run('discarding dead letters', sql.deadDiscard, [keys])).rowCount ?? 0
    },
  })
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
