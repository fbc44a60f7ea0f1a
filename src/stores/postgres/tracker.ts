import type { MessageTracker } from '../../core/tracker.ts'
import type { Session } from '../../sql/session.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import { lockClass } from '../../sql/postgres/locks.ts'
import { serverNow } from './clock.ts'
import { textArray } from './encode.ts'
import type { Statements } from './statements/statements.ts'
import type { UnitNotes } from '../../sql/postgres/unit/unit-notes.ts'

export interface TrackerPorts<Tx> {
  readonly schema: string
  readonly sql: Statements
  readonly own: Own
  readonly session: Session<Tx>
  readonly notes: UnitNotes
  /** Whether a unit on this handle that has failed may have been committed all the same. */
  readonly mayHaveEnded: (tx: unknown) => boolean
}

export function postgresTracker<Tx>(ports: TrackerPorts<Tx>): MessageTracker<Tx> {
  const { schema, sql, own, session, notes } = ports
  /** Which transaction has made the records of a unit. */
  const recorders = new WeakMap<object, string>()
  const note = (tx: Tx, rows: readonly Record<string, unknown>[]): void => {
    const transaction = rows[0]?.['xact'] as string | undefined
    notes.saved(tx, transaction, false)
    if (transaction !== undefined) recorders.set(tx as object, transaction)
  }
  const mayPrune = `select pg_catalog.pg_try_advisory_xact_lock(${lockClass(schema)}, 2002) as mine`
  return {
    async track(tx, { consumer, messageId }) {
      const executor = session.executor(tx)
      try {
        const { rows } = await executor.query(sql.track, [consumer, messageId], { often: true })
        note(tx, rows)
        return rows.length === 1 ? 'first' : 'duplicate'
      } catch (error) {
        throw explain(schema, error)
      }
    },
    many: {
      async track(tx, { consumer, messageIds }) {
        const executor = session.executor(tx)
        try {
          const { rows } = await executor.query(sql.trackMany, [consumer, textArray(messageIds)], {
            often: true,
          })
          note(tx, rows)
          const recorded = new Set(rows.map((row) => Number(row['n'])))
          return messageIds.map((_, index) => (recorded.has(index + 1) ? 'first' : 'duplicate'))
        } catch (error) {
          throw explain(schema, error)
        }
      },
    },
    endings: {
      recorder(tx) {
        const transaction = recorders.get(tx as object)
        return transaction === undefined
          ? undefined
          : { transaction, suspect: ports.mayHaveEnded(tx) }
      },
      forget(transaction, { consumer, messageIds }) {
        const values = [consumer, textArray(messageIds), transaction]
        return own.transaction(
          'taking records out of the inbox',
          async (query) => (await query(sql.forget, values)).rowCount ?? 0,
        )
      },
    },
    /** One node at a time: the others return 0 at once. */
    prune: ({ olderThanMs, limit }) =>
      own.transaction('pruning the inbox', async (query) => {
        const { rows } = await query<{ mine: boolean }>(mayPrune)
        if (rows[0]?.mine !== true) return 0
        return (await query(sql.pruneInbox, [olderThanMs, limit])).rowCount ?? 0
      }),
    now: () => serverNow(own),
  }
}
