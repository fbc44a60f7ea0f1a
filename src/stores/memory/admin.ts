import { CLAIM_BYTES } from '../../core/messages/bytes.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { checkNumber } from '../../core/options.ts'
import type { DeadLetter, DeadLetterBox } from '../../core/dead-letter.ts'
import type { OutboxAdmin, OutboxStats } from '../../core/store.ts'
import { type DatabaseState, wakeAll } from './database.ts'
import type { DeadRow } from './dead-letters.ts'
import { lockOfKey } from './save.ts'

export function memoryAdmin(database: DatabaseState): OutboxAdmin {
  const deadLetters: DeadLetterBox = {
    list: async ({ limit, after } = {}) => {
      await database.pause('read')
      const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
      const from =
        after === undefined ? 0 : /^\d+$/.test(after) ? Number(after) : Number.POSITIVE_INFINITY
      return list(database, most, from)
    },
    retry: (keys) => retry(database, keys),
    discard: async (keys) => {
      await database.pause('retry')
      return discard(database, keys)
    },
  }
  return {
    deadLetters,
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

function find(database: DatabaseState, keys: readonly string[]): Map<number, DeadRow> {
  const found = new Map<number, DeadRow>()
  for (const key of keys) {
    const number = Number(key)
    const dead = database.dead.get(number)
    if (dead !== undefined && dead.letter.key === key) found.set(number, dead)
  }
  return new Map([...found].sort(([left], [right]) => left - right))
}

/**
 * Rows in their place become due again; the others get a new position, under the lock of their key.
 */
async function retry(database: DatabaseState, keys: readonly string[]): Promise<number> {
  await database.pause('retry')
  const owner = {}
  const names = [...lockNames(find(database, keys))].sort()
  try {
    for (const name of names) {
      if (await database.locks.acquire(owner, name, database.lockWaitMs)) continue
      throw new MersalError(
        'MERSAL_STORE_BUSY',
        `a transaction holds the key of a dead letter for more than ${database.lockWaitMs} ms`,
      )
    }
    const found = find(database, keys)
    for (const [number, dead] of found) putBack(database, number, dead)
    if (found.size > 0) wakeAll(database)
    return found.size
  } finally {
    for (const name of names) database.locks.release(owner, name)
  }
}

function lockNames(found: ReadonlyMap<number, DeadRow>): Set<string> {
  const names = new Set<string>()
  for (const { row, message } of found.values()) {
    if (row === undefined && message.partitionKey !== undefined)
      names.add(lockOfKey(message.partitionKey))
  }
  return names
}

function putBack(database: DatabaseState, number: number, { row, message }: DeadRow): void {
  const now = database.clock.now()
  database.dead.delete(number)
  if (row !== undefined) {
    row.dead = undefined
    row.visibleAt = now
    row.attempts = 0
    return
  }
  const position = database.outbox.nextPosition()
  const links = { token: undefined, dead: undefined, previous: undefined, next: undefined }
  database.outbox.add({ position, message, visibleAt: now, attempts: 0, ...links })
}

function discard(database: DatabaseState, keys: readonly string[]): number {
  const found = find(database, keys)
  for (const [number, { row }] of found) {
    database.dead.delete(number)
    if (row !== undefined) database.outbox.remove(row)
  }
  if (found.size > 0) wakeAll(database)
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
