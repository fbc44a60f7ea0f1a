import type { StoreOperations } from '../../core/operations.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { bytesOf, textOf, textOrNull } from '../../sql/mysql/bytes.ts'
import { errorNumber } from '../../sql/mysql/failure.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import { mysqlSchemaControl } from '../../sql/mysql/migrate.ts'
import { onlyRow, type Own, type Query, listsOf } from '../../sql/mysql/own.ts'
import {
  type CountsRow,
  NO_COUNTS,
  type OperatorPorts,
  type OverviewRows,
  type PauseRow,
  storeOperations,
  type TraceRow,
} from '../../sql/shared/operator-tools.ts'
import type { RefusedRow } from '../../sql/shared/refused-rows.ts'
import type { Whole } from '../../sql/shared/rows.ts'
import { trackedId } from './encode.ts'
import { examine } from './examine/examine.ts'
import type { Place } from './place.ts'
import { storeTables } from './schema.ts'
import {
  type Filtered,
  type OperatorStatements,
  operatorStatements,
} from './statements/operator-statements.ts'

export interface OperationsPorts {
  readonly place: Place
  readonly own: Own
  readonly clock: Clock
  /** Called after something was changed that relays wait for. */
  readonly changed: () => void
}

export function mysqlOperations(ports: OperationsPorts): StoreOperations {
  const { own, place, changed } = ports
  const sql = operatorStatements(place.tables)
  return storeOperations({
    changed,
    schema: mysqlSchemaControl(own, storeTables(place.database)),
    examine: () => examine(place, own),
    async consumers(limit) {
      const doing = 'reading the consumers of the inbox'
      const { rows } = await own.run<{ consumer: unknown }>(doing, sql.consumers, [limit])
      return rows.map(({ consumer }) => ({ name: textOf(consumer) }))
    },
    async trace({ messageId, consumer }) {
      const values = [messageId, messageId, bytesOf(consumer), trackedId(messageId)]
      const answer = await own.run<Raw<TraceRow>>('looking for a message', sql.trace, values)
      const { place: found, dead, handled } = onlyRow(answer)
      return {
        place: textOrNull(found) as TraceRow['place'],
        dead: Number(dead),
        handled: Number(handled),
      }
    },
    async refused(after, limit) {
      const doing = 'reading refused messages'
      const { rows } = await own.run<Raw<RefusedRow>>(doing, sql.refused, [after, limit])
      return rows.map(refusedRow)
    },
    overview: (keys) =>
      own.transaction('counting messages', (query) =>
        overviewRows(query, sql, place.database, keys),
      ),
    ...pausing(ports, sql),
    async countKept(filter) {
      const { text, values } = sql.countKept(filter)
      const answer = await own.run<{ count: string }>('counting kept messages', text, values)
      return onlyRow(answer).count
    },
    replay: (filter, { limit, newIds }) =>
      own.transaction('replaying kept messages', (query) =>
        replay(ports, sql, query, { ...sql.pickKept(filter, limit), newIds }),
      ),
  })
}

const refusedRow = (row: Raw<RefusedRow>): RefusedRow => ({
  position: row.position as Whole,
  id: textOf(row.id),
  type: textOf(row.type),
  transport: textOf(row.transport),
  kind: textOf(row.kind) as RefusedRow['kind'],
  name: textOf(row.name),
  partition_key: textOrNull(row.partition_key),
  attempts: row.attempts as Whole,
  due_at: row.due_at as Whole,
  history: textOrNull(row.history),
})

type Raw<Row> = Readonly<Record<keyof Row, unknown>>

async function overviewRows(
  query: Query,
  sql: OperatorStatements,
  database: string,
  most: number,
): Promise<OverviewRows> {
  const counts = onlyRow(
    await query<OverviewRows['counts']>(sql.counts, [bytesOf(database), bytesOf(database)]),
  )
  const open = (
    await query<CountsRow & { destination: unknown; last_error: unknown }>(sql.destinations)
  ).rows
  const dead = (await query<{ destination: unknown; dead: Whole }>(sql.deadPlaces)).rows
  const rowOf = new Map(open.map((row) => [textOf(row.destination), row]))
  const deadOf = new Map(dead.map((row) => [textOf(row.destination), row.dead]))
  const places = [...new Set([...rowOf.keys(), ...deadOf.keys()])].toSorted()
  const keys = most === 0 ? [] : (await query<Raw<KeyRow>>(sql.keys, [most])).rows
  return {
    counts,
    destinations: places.map((destination) => {
      const row = rowOf.get(destination)
      const error = row?.last_error ?? null
      return {
        ...(row ?? NO_COUNTS),
        destination,
        dead: deadOf.get(destination) ?? 0,
        last_error: error === null ? null : textOf(error),
      }
    }),
    keys: keys.map((row) => ({
      key: textOf(row.partition_key),
      pending: row.pending as Whole,
      oldest_ms: row.oldest_ms as Whole,
      blocked: Number(row.blocked),
    })),
  }
}

type KeyRow = Omit<OverviewRows['keys'][number], 'key'> & { readonly partition_key: string }

/** A row of this kind and name is there. */
const DUPLICATE = 1062

function pausing(
  { own, place }: OperationsPorts,
  sql: OperatorStatements,
): Pick<OperatorPorts, 'pauses' | 'pause' | 'resume'> {
  return {
    async pauses() {
      const { rows } = await own.run<Raw<PauseRow>>('reading pauses', sql.pauses)
      return rows.map((row) => ({
        kind: textOf(row.kind) as PauseRow['kind'],
        name: textOf(row.name),
        reason: textOf(row.reason),
        since: row.since as Whole,
      }))
    },
    async pause({ kind, name }, reason) {
      try {
        await own.run('pausing', sql.pause, [kind, bytesOf(name), bytesOf(reason)])
        return true
      } catch (error) {
        if (errorNumber(error) !== DUPLICATE) throw error
        const text = `update ${place.tables.pause} set reason = ? where kind = ? and name = ?`
        await own.run('pausing', text, [bytesOf(reason), kind, bytesOf(name)])
        return false
      }
    },
    resume: async ({ kind, name }) =>
      (await own.run('resuming', sql.resume, [kind, bytesOf(name)])).changed,
  }
}

/** Returns how many messages were put back. */
async function replay(
  { place, clock }: OperationsPorts,
  sql: OperatorStatements,
  query: Query,
  { text, values, newIds }: Filtered & { readonly newIds: boolean },
): Promise<number> {
  const { rows } = await query<{ number: string; partition_key: unknown }>(text, values)
  // The keys before the positions, as for every other writer.
  const keys = rows.flatMap((row) => (row.partition_key === null ? [] : textOf(row.partition_key)))
  for (const slots of listsOf(slotsOf(keys))) await query(place.sql.lock(slots.length), slots)
  for (const row of rows) {
    await query(sql.putBack, [newIds ? uuidv7(clock.now()) : null, BigInt(row.number)])
    await query(sql.removeKept, [BigInt(row.number)])
  }
  return rows.length
}
