import type {
  KeptFilter,
  KeptMessages,
  OutboxOverview,
  PauseBoard,
  PauseTarget,
  StoreOperations,
} from '../../core/operations.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import type { Connection } from './connection/connection.ts'
import type { Handle, SqlValues } from './connection/database.ts'
import { examine } from './examine.ts'
import { operatorSql } from './statements/operator-statements.ts'
import { schemaControl } from './connection/schema-control.ts'
import { storeSchema } from './statements/statements.ts'

export function sqliteOperations(connection: Connection): StoreOperations {
  return {
    schema: schemaControl(connection, storeSchema),
    pauses: pauseBoard(connection),
    kept: keptMessages(connection),
    examine: () => examine(connection),
    consumers: ({ limit }) =>
      connection.write((handle) =>
        handle.all<{ name: string }>(operatorSql.consumers, { limit }).map(({ name }) => name),
      ),
    overview: ({ keys }) =>
      connection.write((handle) => overview(handle, connection.settings.clock.now(), keys)),
  }
}

interface Numbers {
  readonly pending: number
  readonly due: number
  readonly claimed: number
  readonly oldest_due: number | null
  readonly waiting: number | null
  readonly refused: number
  readonly oldest: number | null
}

type Common = Pick<OutboxOverview, 'pending' | 'due' | 'claimed' | 'oldestDueMs' | 'oldestMs'> & {
  readonly waitingMs: number
  readonly refused: number
}

function overview(handle: Handle, now: number, most: number): OutboxOverview {
  const age = (at: number | null): number => (at === null ? 0 : Math.max(0, now - at))
  const common = ({ pending, due, claimed, refused, ...at }: Numbers): Common => ({
    pending,
    due,
    claimed,
    refused,
    oldestDueMs: age(at.oldest_due),
    oldestMs: age(at.oldest),
    waitingMs: age(at.waiting),
  })
  const counts = handle.get<Numbers & { dead: number; kept: number; added: number }>(
    operatorSql.counts,
    { now },
  )!
  const destinations = handle.all<Numbers & { destination: string; dead: number }>(
    operatorSql.destinations,
    { now },
  )
  const keys = handle.all<{ key: string; pending: number; oldest: number | null; blocked: number }>(
    operatorSql.keys,
    { limit: most },
  )
  return {
    ...common(counts),
    dead: counts.dead,
    kept: counts.kept,
    added: counts.added,
    destinations: destinations.map((row) => ({
      destination: row.destination,
      dead: row.dead,
      ...common(row),
    })),
    keys: keys.map(({ key, pending, oldest, blocked }) => ({
      key,
      pending,
      oldestMs: age(oldest),
      blocked: blocked === 1,
    })),
  }
}

interface PauseRow extends PauseTarget {
  readonly reason: string
  readonly since: number
}

function pauseBoard(connection: Connection): PauseBoard {
  const { clock } = connection.settings
  return {
    async list() {
      await connection.open()
      // Outside any transaction, since every relay asks once a second; when that is impossible,
      // inside one.
      const read = (handle: Handle): PauseRow[] => handle.all<PauseRow>(operatorSql.pauses)
      const rows = connection.peek(read) ?? (await connection.write(read))
      return rows.map(({ kind, name, reason, since }) => ({ kind, name, reason, since }))
    },
    async pause({ kind, name }, reason) {
      const added = await connection.write((handle) => {
        if (
          handle.run(operatorSql.pause, { kind, name, reason, now: Math.trunc(clock.now()) })
            .changes > 0
        )
          return true
        handle.run(operatorSql.explain, { kind, name, reason })
        return false
      })
      connection.notify('outbox')
      return added
    },
    async resume({ kind, name }) {
      const changes = await connection.write(
        (handle) => handle.run(operatorSql.resume, { kind, name }).changes,
      )
      connection.notify('outbox')
      return changes > 0
    },
  }
}

function valuesOf({ since, until, type, partitionKey, destination, id }: KeptFilter): SqlValues {
  return {
    since: since ?? null,
    until: until ?? null,
    type: type ?? null,
    partitionKey: partitionKey ?? null,
    destination: destination ?? null,
    id: id ?? null,
  }
}

function keptMessages(connection: Connection): KeptMessages {
  const { clock } = connection.settings
  return {
    count: (filter) =>
      connection.write(
        (handle) =>
          handle.get<{ count: number }>(operatorSql.countKept, valuesOf(filter))?.count ?? 0,
      ),
    async replay(filter, { limit, newIds }) {
      const moved = await connection.write((handle) => {
        const rows = handle.all<{ number: number }>(operatorSql.pickKept, {
          ...valuesOf(filter),
          limit,
        })
        for (const { number } of rows) {
          const now = Math.trunc(clock.now())
          handle.run(operatorSql.putBack, { now, newId: newIds ? uuidv7(now) : null, number })
          handle.run(operatorSql.removeKept, { number })
        }
        return rows.length
      })
      if (moved > 0) connection.notify('outbox')
      return moved
    },
  }
}
