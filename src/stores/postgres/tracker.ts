import type { MessageTracker } from '../../core/tracker.ts'
import type { Session } from '../../sql/session.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Own } from '../../sql/postgres/pool.ts'
import { lockClass } from '../../sql/postgres/locks.ts'
import { textArray } from './rows.ts'
import type { Statements } from './statements.ts'
import type { UnitNotes } from './unit-notes.ts'

export interface TrackerPorts<Tx> {
  readonly schema: string
  readonly sql: Statements
  readonly own: Own
  readonly session: Session<Tx>
  readonly notes: UnitNotes
}

export function postgresTracker<Tx>({ schema, sql, own, session, notes }: TrackerPorts<Tx>): MessageTracker<Tx> {
  const mayPrune = `select pg_catalog.pg_try_advisory_xact_lock(${lockClass(schema)}, 2002) as mine`
  return {
    async track(tx, { consumer, messageId }) {
      const executor = session.executor(tx)
      try {
        const { rows } = await executor.query(sql.track, [consumer, messageId], { often: true })
        notes.saved(tx, rows[0]?.['transaction_id'] as string | undefined, false)
        return rows.length === 1 ? 'first' : 'duplicate'
      } catch (error) {
        throw explain(schema, error)
      }
    },
    many: {
      async track(tx, { consumer, messageIds }) {
        const executor = session.executor(tx)
        try {
          const { rows } = await executor.query(sql.trackMany, [consumer, textArray(messageIds)], { often: true })
          const transaction = rows[0]?.['transaction_id'] as string | undefined
          notes.saved(tx, transaction, false)
          const recorded = new Set(rows.map((row) => Number(row['n'])))
          const answers = messageIds.map((_, index) => (recorded.has(index + 1) ? ('first' as const) : ('duplicate' as const)))
          return { answers, transaction: transaction ?? '0' }
        } catch (error) {
          throw explain(schema, error)
        }
      },
      async forget(transaction, { consumer, messageIds }) {
        const values = [consumer, textArray(messageIds), transaction]
        await own.transaction('taking records out of the inbox', (query) => query(sql.forget, values))
      },
    },
    /** One node at a time: the others return 0 at once. */
    prune: ({ olderThanMs, limit }) =>
      own.transaction('pruning the inbox', async (query) => {
        const { rows } = await query<{ mine: boolean }>(mayPrune)
        if (rows[0]?.mine !== true) return 0
        return (await query(sql.pruneInbox, [olderThanMs, limit])).rowCount ?? 0
      }),
  }
}
