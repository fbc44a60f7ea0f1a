import type { MessageTracker } from '../../core/tracker.ts'
import type { Connection } from './connection.ts'
import type { SqliteDatabase } from './database.ts'
import { storeError } from './failure.ts'
import { inboxSql } from './statements.ts'
import { openTransaction } from './transaction.ts'

/** The inbox table. */
export function sqliteTracker(connection: Connection): MessageTracker<SqliteDatabase> {
  const { clock } = connection.settings
  return {
    async track(tx, { consumer, messageId }) {
      const handle = await openTransaction(connection, tx)
      try {
        const { changes } = handle.run(inboxSql.track, { consumer, messageId, now: Math.trunc(clock.now()) })
        return changes === 1 ? 'first' : 'duplicate'
      } catch (error) {
        throw storeError('recording a handled message', error)
      }
    },
    prune: ({ olderThanMs, limit }) =>
      connection.write((handle) => handle.run(inboxSql.prune, { before: clock.now() - olderThanMs, limit }).changes),
  }
}
