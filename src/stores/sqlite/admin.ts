import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { OutboxAdmin, OutboxStats } from '../../core/store.ts'
import type { Connection } from './connection/connection.ts'
import type { Handle } from './connection/database.ts'
import { countEach, listRange } from './dead-letter-keys.ts'
import { type DeadRow, deadLetter } from '../../sql/shared/rows.ts'
import { adminSql } from './statements/statements.ts'

interface StatsRow {
  readonly pending: number
  readonly claimed: number
  readonly dead: number
  readonly oldest_due: number | null
}

/** What operators ask of the outbox. */
export function sqliteAdmin(connection: Connection): OutboxAdmin {
  const { clock } = connection.settings
  return {
    deadLetters: deadLetterBox(connection),
    stats: () =>
      connection.write((handle): OutboxStats => {
        const now = clock.now()
        const row = handle.get<StatsRow>(adminSql.stats, { now }) as StatsRow
        const oldestDueMs = row.oldest_due === null ? 0 : Math.max(0, now - row.oldest_due)
        return { pending: row.pending, claimed: row.claimed, dead: row.dead, oldestDueMs }
      }),
  }
}

function deadLetterBox(connection: Connection): DeadLetterBox {
  const { clock } = connection.settings
  return {
    list: async (query = {}) => {
      const range = listRange(query)
      if (range === undefined) return []
      return connection.write((handle) => handle.all<DeadRow>(adminSql.list, range).map(deadLetter))
    },
    retry: async (keys) => {
      const retried = await connection.write((handle) =>
        countEach(keys, (key) => retry(handle, key, Math.trunc(clock.now()))),
      )
      if (retried > 0) connection.notify('outbox')
      return retried
    },
    discard: async (keys) => {
      const discarded = await connection.write((handle) =>
        countEach(keys, (key) => discard(handle, key)),
      )
      if (discarded > 0) connection.notify('outbox')
      return discarded
    },
  }
}

interface Found {
  readonly position: number
  readonly blocks: number
}

function retry(handle: Handle, key: number, now: number): boolean {
  const found = handle.get<Found>(adminSql.find, { key })
  if (found === undefined) return false
  if (found.blocks === 1) handle.run(adminSql.unblock, { position: found.position, now })
  else handle.run(adminSql.reinsert, { key, now })
  handle.run(adminSql.remove, { key })
  return true
}

function discard(handle: Handle, key: number): boolean {
  const found = handle.get<Found>(adminSql.find, { key })
  if (found === undefined) return false
  if (found.blocks === 1) handle.run(adminSql.removeBlocking, { position: found.position })
  handle.run(adminSql.remove, { key })
  return true
}
