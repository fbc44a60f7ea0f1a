import { checkNumber } from '../../core/options.ts'
import type { OutboxAdmin } from '../../core/store.ts'
import type { Own } from '../../sql/postgres/pool.ts'
import { decodeDead, type DeadRow } from './rows.ts'
import type { Statements } from './statements.ts'

/** Only what can be a position; anything else names no dead letter. */
function positions(keys: readonly string[]): string[] {
  return keys.filter((key) => /^\d{1,18}$/.test(key))
}

/** `changed` is called after letters were put back, or no longer hold back their key. */
export function postgresAdmin(own: Own, sql: Statements, changed: () => void): OutboxAdmin {
  return {
    deadLetters: {
      async list({ limit, after } = {}) {
        const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
        if (after !== undefined && positions([after]).length === 0) return []
        const { rows } = await own.run<DeadRow>('listing dead letters', sql.deadList, [most, after ?? '-1'])
        return rows.map(decodeDead)
      },
      async retry(keys) {
        const { rows } = await own.run<{ retried: string }>('retrying dead letters', sql.deadRetry, [positions(keys)])
        changed()
        return Number(rows[0]?.retried ?? 0)
      },
      async discard(keys) {
        const given = positions(keys)
        const gone = await own.transaction('discarding dead letters', async (query) => {
          const moved = await query(sql.deadDiscard, [given])
          const blocking = await query(sql.deadDiscardBlocking, [given])
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
