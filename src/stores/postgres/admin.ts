import { checkNumber } from '../../core/options.ts'
import type { OutboxAdmin } from '../../core/store.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import { deadLetter, type DeadRow } from '../../sql/shared/rows.ts'
import type { Statements } from './statements/statements.ts'

/** What the key of a dead letter names: its position, and its letter if it was moved. */
interface Named {
  readonly position: string
  /** -1: it stayed in the outbox. */
  readonly letter: number
}

/** Only what can be a key; anything else names no dead letter. */
function named(keys: readonly string[]): Named[] {
  return keys.flatMap((key) => {
    const [, position, letter] = /^(\d{1,18})(?:\.(\d{1,10}))?$/.exec(key) ?? []
    if (position === undefined || Number(letter ?? 0) > 2_147_483_647) return []
    return { position, letter: letter === undefined ? -1 : Number(letter) }
  })
}

/**
 * Positions and letters of those that were moved, and positions of those that stayed in the outbox.
 */
function split(keys: readonly string[]): {
  readonly moved: [string[], number[]]
  readonly places: string[]
} {
  const all = named(keys)
  const moved = all.filter(({ letter }) => letter >= 0)
  const positions = (some: readonly Named[]): string[] => some.map(({ position }) => position)
  return {
    moved: [positions(moved), moved.map(({ letter }) => letter)],
    places: positions(all.filter(({ letter }) => letter < 0)),
  }
}

/** `changed` is called after letters were put back, or no longer hold back their key. */
export function postgresAdmin(own: Own, sql: Statements, changed: () => void): OutboxAdmin {
  return {
    deadLetters: {
      async list({ limit, after } = {}) {
        const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
        const from = after === undefined ? { position: '-1', letter: -1 } : named([after])[0]
        if (from === undefined) return []
        const { rows } = await own.run<DeadRow>('listing dead letters', sql.deadList, [
          most,
          from.position,
          from.letter,
        ])
        return rows.map(deadLetter)
      },
      async retry(keys) {
        const { moved, places } = split(keys)
        const { rows } = await own.run<{ retried: string }>(
          'retrying dead letters',
          sql.deadRetry,
          [...moved, places],
        )
        changed()
        return Number(rows[0]?.retried ?? 0)
      },
      async discard(keys) {
        const given = split(keys)
        const gone = await own.transaction('discarding dead letters', async (query) => {
          const moved = await query(sql.deadDiscard, given.moved)
          const blocking = await query(sql.deadDiscardBlocking, [given.places])
          return (moved.rowCount ?? 0) + (blocking.rowCount ?? 0)
        })
        changed()
        return gone
      },
    },
    async stats() {
      const { rows } = await own.run<Record<string, string>>('counting messages', sql.stats, [])
      const number = (name: string): number => Number(rows[0]?.[name] ?? 0)
      return {
        pending: number('pending'),
        claimed: number('claimed'),
        dead: number('dead'),
        oldestDueMs: Math.max(0, Math.round(number('oldest_due_ms'))),
      }
    },
  }
}
