import type { MessageTracker, TrackerKey } from '../../core/tracker.ts'
import type { DatabaseState } from './database.ts'
import { assertOpen, lock, type MemoryTransaction, openTransaction } from './unit/transaction.ts'

export function memoryTracker(database: DatabaseState): MessageTracker<MemoryTransaction> {
  return {
    track: (tx, key) => track(database, tx, key),
    prune: async ({ olderThanMs, limit }) => {
      await database.pause('prune')
      return prune(database, olderThanMs, limit)
    },
  }
}

async function track(
  database: DatabaseState,
  tx: MemoryTransaction,
  { consumer, messageId }: TrackerKey,
): Promise<'first' | 'duplicate'> {
  const state = openTransaction(database, tx)
  const record = JSON.stringify([consumer, messageId])
  await database.pause('track')
  assertOpen(state)
  if (database.tracked.has(record)) return 'duplicate'
  await lock(state, `inbox ${record}`)
  if (database.tracked.has(record) || state.tracked.has(record)) return 'duplicate'
  state.tracked.add(record)
  return 'first'
}

function prune(database: DatabaseState, olderThanMs: number, limit: number): number {
  const before = database.clock.now() - olderThanMs
  let count = 0
  for (const [record, trackedAt] of database.tracked) {
    if (count >= limit || trackedAt >= before) break
    database.tracked.delete(record)
    count++
  }
  return count
}
