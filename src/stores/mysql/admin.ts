import type { DeadLetter, DeadLetterBox } from '../../core/dead-letter.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { checkNumber } from '../../core/options.ts'
import type { OutboxAdmin } from '../../core/store.ts'
import { textOf } from '../../sql/mysql/bytes.ts'
import { onlyRow, type Own, type Query } from '../../sql/mysql/own.ts'
import { deadLetter, type DeadRow, type MessageRow } from '../../sql/shared/rows.ts'
import { listsOf } from './claim.ts'
import { AROUND_BYTES, messageRow } from './encode.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import type { Place } from './place.ts'

/** What operators ask of the outbox. `changed` is called after something may go again. */
export function mysqlAdmin(place: Place, own: Own, changed: () => void): OutboxAdmin {
  return {
    deadLetters: deadLetterBox(place, own, changed),
    async stats() {
      const answer = await own.run<Record<string, string>>('counting messages', place.sql.stats)
      const row = onlyRow(answer)
      const number = (name: string): number => Number(row[name] ?? 0)
      return {
        pending: number('pending'),
        claimed: number('claimed'),
        dead: number('dead'),
        oldestDueMs: Math.max(0, Math.round(number('oldest_due_ms'))),
      }
    },
  }
}

/** The number behind the key of a dead letter; undefined if no letter can have it. */
const numberOf = (key: string): bigint | undefined =>
  /^[1-9]\d{0,17}$/.test(key) ? BigInt(key) : undefined

const numbersOf = (keys: readonly string[]): bigint[] =>
  [...new Set(keys.flatMap((key) => numberOf(key) ?? []))].sort((a, b) => (a < b ? -1 : 1))

type RawDead = Readonly<
  Record<
    keyof MessageRow | 'letter' | 'error' | 'reason' | 'blocks' | 'maybe_published' | 'attempts',
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
  }
}

function deadLetterBox(place: Place, own: Own, changed: () => void): DeadLetterBox {
  const change = async (
    doing: string,
    keys: readonly string[],
    work: (query: Query, found: Found) => Promise<unknown>,
  ): Promise<number> => {
    const numbers = numbersOf(keys)
    if (numbers.length === 0) return 0
    const count = await own.transaction(doing, (query) => changeEach(place, query, numbers, work))
    if (count > 0) changed()
    return count
  }
  return {
    list: ({ limit, after } = {}) => list(place, own, limit, after),
    retry: (keys) =>
      change('retrying dead letters', keys, (query, { letter, position, blocks }) =>
        blocks ? query(place.sql.deadUnblock, [position]) : query(place.sql.deadReinsert, [letter]),
      ),
    discard: (keys) =>
      change('discarding dead letters', keys, async (query, { position, blocks }) => {
        if (blocks) await query(place.sql.deadRemoveBlocking, [position])
      }),
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
    const keys = rows.flatMap((row) =>
      row.partition_key === null ? [] : textOf(row.partition_key),
    )
    const slots = slotsOf(keys)
    for (const list of listsOf(slots)) await query(sql.lock(list.length), list)
    for (const row of rows) {
      const letter = BigInt(row.letter)
      await work(query, {
        letter,
        position: BigInt(row.position),
        blocks: Number(row.blocks) === 1,
      })
      await query(sql.deadRemove, [letter])
      count++
    }
  }
  return count
}

async function list(
  { sql, facts }: Place,
  own: Own,
  limit: number | undefined,
  after: string | undefined,
): Promise<DeadLetter[]> {
  const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
  const from = after === undefined ? 0n : numberOf(after)
  if (from === undefined) return []
  const doing = 'listing dead letters'
  const sizes = await own.run<{ letter: string; bytes: string }>(doing, sql.deadSizes, [from, most])
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
