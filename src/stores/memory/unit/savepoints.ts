import { MersalError } from '../../../core/errors/errors.ts'
import type { Savepoints } from '../../../core/store.ts'
import type { DatabaseState } from '../database.ts'
import { type MemoryTransaction, openTransaction } from './transaction.ts'

/** What was locked and read since then stays locked and read, as in a database. */
export function memorySavepoints(database: DatabaseState): Savepoints<MemoryTransaction> {
  return {
    async open(tx) {
      await database.pause('savepoint')
      const state = openTransaction(database, tx)
      const written = new Map(state.view.written)
      const keyTokens = new Map(state.keyTokens)
      const tracked = new Set(state.tracked)
      const rows = [...state.rows]
      const leaving = new Set(state.leaving)
      const { doomed } = state
      return {
        async release() {
          await database.pause('savepoint')
          openTransaction(database, tx)
          if (state.doomed === doomed) return
          throw new MersalError(
            'MERSAL_ROLLED_BACK',
            'the savepoint cannot be kept, since an error in it was swallowed',
            {
              cause: state.doomed,
            },
          )
        },
        async rollBack() {
          await database.pause('savepoint')
          openTransaction(database, tx)
          restore(state.view.written, written)
          restore(state.keyTokens, keyTokens)
          for (const record of state.tracked) if (!tracked.has(record)) state.tracked.delete(record)
          state.rows.splice(0, Number.POSITIVE_INFINITY, ...rows)
          for (const row of state.leaving) {
            if (leaving.has(row)) continue
            row.leaving = false
            state.leaving.delete(row)
          }
          state.doomed = doomed
        },
      }
    },
    // The work has no other way to make one.
    mark: () => undefined,
    kept: () => Promise.resolve(undefined),
  }
}

function restore<Key, Value>(target: Map<Key, Value>, before: ReadonlyMap<Key, Value>): void {
  target.clear()
  for (const [key, value] of before) target.set(key, value)
}
