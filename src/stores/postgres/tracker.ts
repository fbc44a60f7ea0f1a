import type { MessageTracker } from '../../core/tracker.ts'
import type { Session, SqlValue } from '../../sql/session.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import { lockClass, otherLocks } from '../../sql/postgres/locks.ts'
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

type Rows = readonly Record<string, unknown>[]

export function postgresTracker<Tx>(ports: TrackerPorts<Tx>): MessageTracker<Tx> {
  const { schema, sql, own, session, notes } = ports
  /** Which transaction has made the records of a unit. */
  const recorders = new WeakMap<object, string>()
  const run = async (tx: Tx, text: string, values: readonly SqlValue[]): Promise<Rows> => {
    const executor = session.executor(tx)
    try {
      const { rows } = await executor.query(text, values, { often: true })
      const transaction = rows[0]?.['xact'] as string | undefined
      notes.saved(tx, transaction, false)
      if (transaction !== undefined) recorders.set(tx as object, transaction)
      return rows
    } catch (error) {
      throw explain(schema, error)
    }
  }
  const mayPrune = `select pg_catalog.pg_try_advisory_xact_lock(${lockClass(schema)}, ${otherLocks.inbox}) as mine`
  return {
    async track(tx, { consumer, messageId }) {
      const rows = await run(tx, sql.track, [consumer, messageId])
      return rows.length === 1 ? 'first' : 'duplicate'
    },
    many: {
      async track(tx, { consumer, messageIds }) {
        const values = [consumer, textArray(messageIds)]
        const rows = await run(tx, sql.trackMany, values)
        const recorded = new Set(rows.map((row) => Number(row['n'])))
        return messageIds.map((_, index) => (recorded.has(index + 1) ? 'first' : 'duplicate'))
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
