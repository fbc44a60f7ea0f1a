import type { DeadLetter } from '../../core/dead-letter.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import type { OutboxAdmin } from '../../core/store.ts'
import { AROUND_BYTES, textOf, textOrNull } from '../../sql/mysql/bytes.ts'
import { onlyRow, type Own, type Query, listsOf } from '../../sql/mysql/own.ts'
import { deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { statsOf, type StatsRow } from '../../sql/shared/operator-tools.ts'
import { deadLetter, type DeadRow, type MessageRow } from '../../sql/shared/rows.ts'
import { messageRow } from './encode.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import type { Place } from './place.ts'

/** What operators ask of the outbox. `changed` is called after something may go again. */
export function mysqlAdmin(place: Place, own: Own, changed: () => void): OutboxAdmin {
  const change = (
    doing: string,
    keys: readonly bigint[],
    work: (query: Query, found: Found) => Promise<unknown>,
  ): Promise<number> => {
    const numbers = [...new Set(keys)].sort((a, b) => (a < b ? -1 : 1))
    return own.transaction(doing, (query) => changeEach(place, query, numbers, work))
  }
  return {
    deadLetters: deadLetterBox<bigint>({
      parse: numberOf,
      first: 0n,
      changed,
      list: (after, limit) => list(place, own, limit, after),
      retry: (keys) =>
        change('retrying dead letters', keys, (query, { letter, position, blocks }) =>
          blocks
            ? query(place.sql.deadUnblock, [position])
            : query(place.sql.deadReinsert, [letter]),
        ),
      discard: (keys) =>
        change('discarding dead letters', keys, async (query, { position, blocks }) => {
          if (blocks) await query(place.sql.deadRemoveBlocking, [position])
        }),
    }),
    async stats() {
      return statsOf(onlyRow(await own.run<StatsRow>('counting messages', place.sql.stats)))
    },
  }
}

/** The number behind the key of a dead letter; undefined if no letter can have it. */
const numberOf = (key: string): bigint | undefined =>
  /^[1-9]\d{0,17}$/.test(key) ? BigInt(key) : undefined

type RawDead = Readonly<
  Record<
    | keyof MessageRow
    | 'letter'
    | 'error'
    | 'reason'
    | 'blocks'
    | 'maybe_published'
    | 'attempts'
    | 'history',
    unknown
  > & { readonly died_at: string }
>

function deadRow(row: RawDead): DeadRow {
  return {
    ...messageRow(row),
    key: String(row.letter),
    blocks: Number(row.blocks),
    reason: textOf(row.reason),
    error: textOf(row.error),
    maybe_published: Number(row.maybe_published),
    died_at: row.died_at,
    attempts: Number(row.attempts),
    history: textOrNull(row.history),
  }
}

interface Found {
  readonly letter: bigint
  readonly position: bigint
  readonly blocks: boolean
}

/** Oldest first. What somebody else has taken meanwhile is not found. */
async function changeEach(
  { sql }: Place,
  query: Query,
  numbers: readonly bigint[],
  work: (query: Query, found: Found) => Promise<unknown>,
): Promise<number> {
  let count = 0
  for (const some of listsOf(numbers)) {
    const { rows } = await query<{
      letter: string
      position: string
      blocks: unknown
      partition_key: unknown
    }>(sql.deadFind, [some])
    // The keys before the positions, as for every other writer.
    const keys = rows.flatMap(({ partition_key: key }) => (key === null ? [] : textOf(key)))
    for (const slots of listsOf(slotsOf(keys))) await query(sql.lock(slots.length), slots)
    for (const row of rows) {
      const letter = BigInt(row.letter)
      const blocks = Number(row.blocks) === 1
      await work(query, { letter, position: BigInt(row.position), blocks })
      await query(sql.deadRemove, [letter])
      count++
    }
  }
  return count
}

async function list(
  { sql, facts }: Place,
  own: Own,
  limit: number,
  after: bigint,
): Promise<DeadLetter[]> {
  const doing = 'listing dead letters'
  const sizes = await own.run<{ letter: string; bytes: string }>(doing, sql.deadSizes, [
    after,
    limit,
  ])
  const largest = Math.min(LARGEST_ROW_BYTES, facts.packetBytes - AROUND_BYTES)
  let before = 0
  const letters = sizes.rows.flatMap(({ letter, bytes }) => {
    const fits = before < CLAIM_BYTES
    before += Number(bytes) > largest ? 0 : Number(bytes)
    return fits ? [BigInt(letter)] : []
  })
  const found: DeadLetter[] = []
  for (const some of listsOf(letters)) {
    const values = [largest, largest, largest, some]
    const { rows } = await own.run<RawDead>(doing, sql.deadRows, values)
    found.push(...rows.map((row) => deadLetter(deadRow(row))))
  }
  return found
}
