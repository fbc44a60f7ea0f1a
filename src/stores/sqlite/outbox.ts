import type { OutboxStorage, Settlement, SettleResult, Upcoming } from '../../core/outbox.ts'
import { unburied } from '../../sql/shared/claims.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle, SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { cancel } from './cancel.ts'
import { claim } from './claim.ts'
import { sqliteClock } from './clock.ts'
import { saving } from './save.ts'
import { settle } from './settle.ts'
import { outboxSql } from './statements/statements.ts'

/** The outbox table. `keepSentMs` 0: confirmed rows are deleted at once. */
export function sqliteOutbox(
  connection: Connection,
  keepSentMs: number,
): OutboxStorage<SqliteDatabase> {
  const { clock, logger } = connection.settings
  const settling =
    (keepSent: boolean) =>
    (settlements: readonly Settlement[]): Promise<SettleResult> =>
      connection.write((handle) => settle(handle, settlements, { now: clock.now(), keepSent }), {
        // A row that comes back after a loss of power is published once more.
        repeatable: settlements.every(({ kind }) => kind === 'sent'),
      })
  const burial = {
    settle: settling(false),
    cannotBury: unburied(logger, clock, { store: 'sqlite' }),
  }
  return {
    ...saving(connection),
    claim: (request) => claim(connection, request, burial),
    settle: settling(keepSentMs > 0),
    renew: (claims, { claimMs }) =>
      connection.write(
        (handle) => {
          const visibleAt = Math.ceil(clock.now() + claimMs)
          for (const { position, token } of claims)
            handle.run(outboxSql.renew, { position, token, visibleAt })
        },
        // A loss of power ends all relays of the file.
        { repeatable: true },
      ),
    prune: ({ limit, longerMs = 0 }) => {
      const before = clock.now() - keepSentMs - longerMs
      return connection.write((handle) => handle.run(outboxSql.prune, { before, limit }).changes)
    },
    clock: sqliteClock(connection),
    waiting: {
      async upcoming({ limit }) {
        await connection.open()
        const read = (handle: Handle): readonly Upcoming[] => upcoming(handle, clock.now(), limit)
        // While a transaction is open on our handle there is nothing to see outside of it.
        return connection.peek(read) ?? (await connection.write(read))
      },
      cancel: (tx, id) => cancel(connection, tx, id),
    },
  }
}

function upcoming(handle: Handle, now: number, limit: number): readonly Upcoming[] {
  const rows = handle.all<{ position: bigint | number; dueAt: number }>(outboxSql.upcoming, {
    now,
    limit,
  })
  return rows.map(({ position, dueAt }) => ({ position: BigInt(position), inMs: dueAt - now }))
}
