import { bytesOf, textOf } from '../../sql/mysql/bytes.ts'
import type { Query } from '../../sql/mysql/own.ts'
import type { QueueStatements } from './statements.ts'

/** A key in one queue. */
export interface Pair {
  readonly queue: number
  readonly key: string
}

/** The first message of a key in a queue. */
export interface Head extends Pair {
  readonly position: string
  /** It has not been told yet that it is the first one. */
  readonly waits: boolean
}

/** Most keys of one statement. */
const PAIRS = 100

export const nameOf = ({ queue, key }: Pair): string => `${queue} ${key}`

/**
 * The first message of each of these keys, if there is one. It stays locked: nobody removes it, and
 * whoever puts another one behind it has to wait for us.
 */
export async function headsOf(
  query: Query,
  sql: QueueStatements,
  pairs: readonly Pair[],
): Promise<Head[]> {
  const distinct = [...new Map(pairs.map((pair) => [nameOf(pair), pair])).entries()]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([, pair]) => pair)
  const heads: Head[] = []
  for (let from = 0; from < distinct.length; from += PAIRS) {
    const some = distinct.slice(from, from + PAIRS)
    const { rows } = await query<Record<'position' | 'queue' | 'partition_key' | 'waits', unknown>>(
      sql.heads(some.length),
      some.flatMap(({ queue, key }) => [queue, bytesOf(key)]),
    )
    heads.push(
      ...rows.map((row) => ({
        position: textOf(row.position),
        queue: Number(row.queue),
        key: textOf(row.partition_key),
        waits: Number(row.waits) === 1,
      })),
    )
  }
  return heads
}
