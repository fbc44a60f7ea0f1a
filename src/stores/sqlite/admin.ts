import type { OutboxAdmin } from '../../core/store.ts'
import { counterKey, countEach, deadLetterBox } from '../../sql/shared/dead-letter-box.ts'
import { statsOf, type StatsRow } from '../../sql/shared/operator-tools.ts'
import { type DeadRow, deadLetter } from '../../sql/shared/rows.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { adminSql } from './statements/statements.ts'

/** What operators ask of the outbox. */
export function sqliteAdmin(connection: Connection): OutboxAdmin {
  const { clock } = connection.settings
  return {
    deadLetters: deadLetterBox<number>({
      parse: counterKey,
      first: 0,
      changed: () => connection.notify('outbox'),
      list: (after, limit) =>
        connection.write((handle) =>
          handle.all<DeadRow>(adminSql.list, { after, limit }).map(deadLetter),
        ),
      retry: (keys) =>
        connection.write((handle) =>
          countEach(keys, (key) => retry(handle, key, Math.trunc(clock.now()))),
        ),
      discard: (keys) =>
        connection.write((handle) => countEach(keys, (key) => discard(handle, key))),
    }),
    stats: () =>
      connection.write((handle) =>
        statsOf(handle.get<StatsRow>(adminSql.stats, { now: clock.now() }) as StatsRow),
      ),
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
