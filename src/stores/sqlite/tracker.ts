import type { MessageTracker } from '../../core/tracker.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { unitHandleOf } from '../../sql/sqlite/unit/unit-handle.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import { inboxSql } from './statements/statements.ts'
import { openTransaction } from '../../sql/sqlite/unit/transaction.ts'

type Recorded = { readonly messageId: string; readonly now: number }[]

function note(
  recorded: WeakMap<object, Recorded>,
  tx: SqliteDatabase,
  record: Recorded[number],
): void {
  const records = recorded.get(tx)
  if (records === undefined) recorded.set(tx, [record])
  else records.push(record)
}

/** The inbox table. */
export function sqliteTracker(connection: Connection): MessageTracker<SqliteDatabase> {
  const { clock } = connection.settings
  /** What each unit has recorded. */
  const recorded = new WeakMap<object, Recorded>()
  return {
    async track(tx, { consumer, messageId }) {
      const handle = await openTransaction(connection, tx)
      try {
        const now = Math.trunc(clock.now())
        const { changes } = handle.run(inboxSql.track, { consumer, messageId, now })
        if (changes !== 1) return 'duplicate'
        note(recorded, tx, { now, messageId })
        return 'first'
      } catch (error) {
        throw storeError('recording a handled message', error)
      }
    },
    endings: {
      recorder(tx) {
        const records = recorded.get(tx)
        return records === undefined
          ? undefined
          : { transaction: JSON.stringify(records), suspect: unitHandleOf(tx)?.ended === true }
      },
      forget(transaction, { consumer, messageIds }) {
        const records = (JSON.parse(transaction) as Recorded).filter(({ messageId }) =>
          messageIds.includes(messageId),
        )
        const remove = (handle: Handle): number =>
          records.reduce(
            (count, { now, messageId }) =>
              count + handle.run(inboxSql.forget, { consumer, messageId, now }).changes,
            0,
          )
        return connection.write(remove)
      },
    },
    prune: ({ olderThanMs, limit }) =>
      connection.write(
        (handle) =>
          handle.run(inboxSql.prune, { before: clock.now() - olderThanMs, limit }).changes,
      ),
    now: () => Promise.resolve(clock.now()),
  }
}
