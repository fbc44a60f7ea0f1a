import { CLAIM_BYTES } from '../../core/messages/bytes.ts'
import type { DeadLetter } from '../../core/dead-letter.ts'
import type { OutboxAdmin, OutboxStats } from '../../core/store.ts'
import { counterKey, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { type DatabaseState, wakeAll } from './database.ts'
import type { DeadRow } from './dead-letters.ts'
import { holdingKeys } from './unit/holding-keys.ts'

export function memoryAdmin(database: DatabaseState): OutboxAdmin {
  return {
    deadLetters: deadLetterBox<number>({
      parse: counterKey,
      first: 0,
      changed: () => wakeAll(database),
      list: async (after, limit) => {
        await database.pause('read')
        return list(database, limit, after)
      },
      retry: (keys) => retry(database, keys),
      discard: async (keys) => {
        await database.pause('retry')
        return discard(database, keys)
      },
    }),
    stats: async () => {
      await database.pause('read')
      return stats(database)
    },
  }
}

function list(database: DatabaseState, limit: number, after: number): readonly DeadLetter[] {
  const found: DeadLetter[] = []
  let bytes = 0
  for (const [number, { letter }] of database.dead) {
    if (number <= after) continue
    found.push({ ...letter, body: letter.body.slice() })
    bytes += letter.body.byteLength
    if (found.length === limit || bytes >= CLAIM_BYTES) break
  }
  return found
}

/** Those that are there, oldest first. */
function find(database: DatabaseState, keys: readonly number[]): ReadonlyMap<number, DeadRow> {
  const sorted = [...new Set(keys)].sort((left, right) => left - right)
  return new Map(
    sorted.flatMap((key) => {
      const dead = database.dead.get(key)
      return dead === undefined ? [] : [[key, dead] as const]
    }),
  )
}

/**
 * Rows in their place become due again; the others get a new position, under the lock of their key.
 */
async function retry(database: DatabaseState, keys: readonly number[]): Promise<number> {
  await database.pause('retry')
  const moved = [...find(database, keys).values()].filter(({ row }) => row === undefined)
  const partitionKeys = moved.map(({ message }) => message.partitionKey)
  return holdingKeys(database, partitionKeys, () => {
    const found = find(database, keys)
    for (const [number, dead] of found) putBack(database, number, dead)
    return found.size
  })
}

function putBack(
  database: DatabaseState,
  number: number,
  { row, message, addedAt }: DeadRow,
): void {
  const now = database.clock.now()
  database.dead.delete(number)
  if (row !== undefined) {
    row.dead = undefined
    row.visibleAt = now
    row.attempts = 0
    row.history = undefined
    return
  }
  database.outbox.add({ message, visibleAt: now, addedAt })
}

function discard(database: DatabaseState, keys: readonly number[]): number {
  const found = find(database, keys)
  for (const [number, { row }] of found) {
    database.dead.delete(number)
    if (row !== undefined) database.outbox.remove(row)
  }
  return found.size
}

function stats(database: DatabaseState): OutboxStats {
  const now = database.clock.now()
  let pending = 0
  let claimed = 0
  let oldestDueAt = now
  for (const row of database.outbox.rows.from(0)) {
    if (row.dead !== undefined) continue
    pending++
    if (row.visibleAt <= now) oldestDueAt = Math.min(oldestDueAt, row.visibleAt)
    else if (row.token !== undefined) claimed++
  }
  return { pending, claimed, dead: database.dead.size, oldestDueMs: now - oldestDueAt }
}
