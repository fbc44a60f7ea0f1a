import type { OutboxAdmin } from '../../core/store.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import { deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { statsOf, type StatsRow } from '../../sql/shared/operator-tools.ts'
import { deadLetter, type DeadRow } from '../../sql/shared/rows.ts'
import type { Statements } from './statements/statements.ts'

/** What the key of a dead letter names: its position, and its letter if it was moved. */
interface LetterKey {
  readonly position: string
  /** -1: it stayed in the outbox. */
  readonly letter: number
}

const FIRST: LetterKey = { position: '-1', letter: -1 }

function parse(key: string): LetterKey | undefined {
  const [, position, letter] = /^(\d{1,18})(?:\.(\d{1,10}))?$/.exec(key) ?? []
  if (position === undefined || Number(letter ?? 0) > 2_147_483_647) return undefined
  return { position, letter: letter === undefined ? -1 : Number(letter) }
}

/**
 * Positions and letters of those that were moved, and positions of those that stayed in the outbox.
 */
function split(keys: readonly LetterKey[]): {
  readonly moved: [string[], number[]]
  readonly places: string[]
} {
  const moved = keys.filter(({ letter }) => letter >= 0)
  const positions = (some: readonly LetterKey[]): string[] => some.map(({ position }) => position)
  return {
    moved: [positions(moved), moved.map(({ letter }) => letter)],
    places: positions(keys.filter(({ letter }) => letter < 0)),
  }
}

/** `changed` is called after letters were put back, or no longer hold back their key. */
export function postgresAdmin(own: Own, sql: Statements, changed: () => void): OutboxAdmin {
  return {
    deadLetters: deadLetterBox<LetterKey>({
      parse,
      first: FIRST,
      changed,
      async list({ position, letter }, limit) {
        const values = [limit, position, letter]
        return (await own.run<DeadRow>('listing dead letters', sql.deadList, values)).rows.map(
          deadLetter,
        )
      },
      async retry(keys) {
        const { moved, places } = split(keys)
        const values = [...moved, places]
        const { rows } = await own.run<{ retried: string }>(
          'retrying dead letters',
          sql.deadRetry,
          values,
        )
        return Number(rows[0]?.retried ?? 0)
      },
      async discard(keys) {
        const given = split(keys)
        return await own.transaction('discarding dead letters', async (query) => {
          const moved = await query(sql.deadDiscard, given.moved)
          const blocking = await query(sql.deadDiscardBlocking, [given.places])
          return (moved.rowCount ?? 0) + (blocking.rowCount ?? 0)
        })
      },
    }),
    async stats() {
      const { rows } = await own.run<StatsRow>('counting messages', sql.stats, [])
      return statsOf(rows[0] as StatsRow)
    },
  }
}
