import type { StoreOperations } from '../../core/operations.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import {
  type OperatorPorts,
  type OverviewRows,
  type PauseRow,
  storeOperations,
  type TraceRow,
} from '../../sql/shared/operator-tools.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import type { RefusedRow } from '../../sql/shared/refused-rows.ts'
import { sqliteSchemaControl } from '../../sql/sqlite/connection/schema-control.ts'
import { examine } from './examine.ts'
import { countKept, operatorSql, pickKept } from './statements/operator-statements.ts'
import { storeTables } from './schema.ts'

export function sqliteOperations(connection: Connection): StoreOperations {
  const { clock } = connection.settings
  return storeOperations({
    changed: () => connection.notify('outbox'),
    schema: sqliteSchemaControl(connection, storeTables),
    examine: () => examine(connection),
    consumers: (limit) =>
      connection.write((handle) => handle.all(operatorSql.consumers, { limit })),
    overview: (keys) =>
      connection.write((handle): OverviewRows => overviewRows(handle, clock.now(), keys)),
    async trace({ messageId, consumer }) {
      await connection.open()
      const read = (handle: Handle): TraceRow => {
        const values = { messageId, consumer, now: clock.now() }
        return handle.get<TraceRow>(operatorSql.trace, values) as TraceRow
      }
      return connection.peek(read) ?? (await connection.write(read))
    },
    refused: (after, limit) =>
      connection.write((handle) => handle.all<RefusedRow>(operatorSql.refused, { after, limit })),
    ...pausing(connection),
    countKept: (filter) =>
      connection.write((handle) => {
        const { text, values } = countKept(filter)
        return handle.get<{ count: number }>(text, values)?.count ?? 0
      }),
    replay: (filter, { limit, newIds }) =>
      connection.write((handle) => {
        const { text, values } = pickKept(filter)
        const rows = handle.all<{ number: number }>(text, { ...values, limit })
        for (const { number } of rows) {
          const now = Math.trunc(clock.now())
          handle.run(operatorSql.putBack, { now, newId: newIds ? uuidv7(now) : null, number })
          handle.run(operatorSql.removeKept, { number })
        }
        return rows.length
      }),
  })
}

function overviewRows(handle: Handle, now: number, limit: number): OverviewRows {
  return {
    counts: handle.get<OverviewRows['counts']>(operatorSql.counts, {
      now,
    }) as OverviewRows['counts'],
    destinations: handle.all(operatorSql.destinations, { now }),
    keys: handle.all(operatorSql.keys, { now, limit }),
  }
}

function pausing(connection: Connection): Pick<OperatorPorts, 'pauses' | 'pause' | 'resume'> {
  const { clock } = connection.settings
  return {
    async pauses() {
      await connection.open()
      // Outside any transaction, since every relay asks once a second; when that is impossible,
      // inside one.
      const read = (handle: Handle): PauseRow[] => handle.all<PauseRow>(operatorSql.pauses)
      return connection.peek(read) ?? (await connection.write(read))
    },
    pause: ({ kind, name }, reason) =>
      connection.write((handle) => {
        const now = Math.trunc(clock.now())
        if (handle.run(operatorSql.pause, { kind, name, reason, now }).changes > 0) return true
        handle.run(operatorSql.explain, { kind, name, reason })
        return false
      }),
    resume: ({ kind, name }) =>
      connection.write((handle) => handle.run(operatorSql.resume, { kind, name }).changes),
  }
}
