import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { CLAIM_BYTES } from '../../core/messages/bytes.ts'
import type { QueueOverview } from '../../core/operations.ts'
import { bytesOf, textOf, textOrNull } from '../../sql/mysql/bytes.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import { type Query, listsOf } from '../../sql/mysql/own.ts'
import { counterKey, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { queueLetter, type QueueLetterRow } from '../../sql/shared/queue-letters.ts'
import type { Connection } from './connection.ts'
import { headsOf } from './heads.ts'

/** Messages that their consumers have given up, of one queue or of all. */
export function queueDeadLetters(connection: Connection, queue?: string): DeadLetterBox {
  const { sql } = connection
  const each = async (
    doing: string,
    keys: readonly number[],
    change: (query: Query, key: number) => Promise<boolean>,
  ): Promise<number> =>
    (await connection.ready()).transaction(doing, async (query) => {
      let changed = 0
      for (const key of [...new Set(keys)].toSorted((a, b) => a - b))
        if (await change(query, key)) changed++
      return changed
    })
  return deadLetterBox<number>({
    parse: counterKey,
    first: 0,
    changed: connection.bell.ring,
    list: (after, limit) => list(connection, queue, after, limit),
    retry: (keys) =>
      each('retrying dead letters', keys, (query, key) => retry(query, connection, key)),
    discard: (keys) =>
      each('discarding dead letters', keys, async (query, key) => {
        return (await query(sql.deadRemove, [key])).changed > 0
      }),
  })
}

/** Puts it back behind everything else of its queue and key, without reading its bytes. */
async function retry(query: Query, { sql }: Connection, key: number): Promise<boolean> {
  const found = await query<{ queue: unknown; partition_key: unknown }>(sql.deadFind, [key])
  const [row] = found.rows
  if (row === undefined) return false
  const name = textOrNull(row.partition_key)
  const pairs = name === null ? [] : [{ queue: Number(row.queue), key: name }]
  if (name !== null) await query(sql.lockKeys, [slotsOf([name])])
  const waits = (await headsOf(query, sql, pairs)).length
  await query(sql.deadBack, [waits, key])
  return (await query(sql.deadRemove, [key])).changed > 0
}

async function list(
  connection: Connection,
  queue: string | undefined,
  after: number,
  limit: number,
): Promise<ReturnType<typeof queueLetter>[]> {
  const doing = 'listing dead letters'
  const { sql } = connection
  const own = await connection.ready()
  const { largestBytes: largest } = connection
  const sizes =
    queue === undefined
      ? await own.run<SizeRow>(doing, sql.deadSizes, [after, limit])
      : await own.run<SizeRow>(doing, sql.deadSizesOf, [after, bytesOf(queue), limit])
  let before = 0
  const numbers = sizes.rows.flatMap(({ number, bytes }) => {
    const fits = before < CLAIM_BYTES
    const size = Number(textOf(bytes))
    before += size > largest ? 0 : size
    return fits ? [BigInt(textOf(number))] : []
  })
  const letters: ReturnType<typeof queueLetter>[] = []
  for (const some of listsOf(numbers)) {
    const { rows } = await own.run<RawLetter>(doing, sql.deadRows, [
      largest,
      largest,
      largest,
      some,
    ])
    letters.push(...rows.map((row) => queueLetter(letterRow(row))))
  }
  return letters
}

interface SizeRow {
  readonly number: unknown
  readonly bytes: unknown
}

type RawLetter = Readonly<Record<Exclude<keyof QueueLetterRow, 'key'> | 'number', unknown>>

function letterRow(row: RawLetter): QueueLetterRow {
  return {
    key: textOf(row.number),
    queue: textOf(row.queue),
    reason: textOf(row.reason),
    error: textOf(row.error),
    died_at: textOf(row.died_at),
    attempts: Number(row.attempts),
    id: textOf(row.id),
    type: textOf(row.type),
    partition_key: textOrNull(row.partition_key),
    headers: textOf(row.headers),
    body: row.body as Uint8Array,
    withheld_bytes: textOrNull(row.withheld_bytes),
  }
}

/** Every queue with what waits in it. Counts whole tables. */
export async function queueOverviews(connection: Connection): Promise<readonly QueueOverview[]> {
  const own = await connection.ready()
  const { rows } = await own.run<Record<'name' | 'dead' | 'waiting', unknown>>(
    'counting queues',
    connection.sql.overview,
  )
  return rows.map(({ name, dead, waiting }) => ({
    queue: textOf(name),
    dead: Number(textOf(dead)),
    waiting: Number(textOf(waiting)),
  }))
}
