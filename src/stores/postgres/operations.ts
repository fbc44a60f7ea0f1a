import type {
  DestinationOverview,
  KeptMessages,
  KeyOverview,
  OutboxOverview,
  PauseBoard,
  StoreOperations,
} from '../../core/operations.ts'
import { schemaControl } from '../../sql/postgres/migrate.ts'
import type { Own, Query } from '../../sql/postgres/pool/pool.ts'
import { examine } from './examine/examine.ts'
import { type OperatorStatements, operatorStatements } from './statements/operator-statements.ts'
import { storeTables } from './schema.ts'

export interface OperationsPorts {
  readonly own: Own
  readonly schema: string
  readonly keepSentMs: number
  /** Called after something was changed that relays wait for. */
  readonly changed: () => void
}

export function postgresOperations(ports: OperationsPorts): StoreOperations {
  const { own, schema } = ports
  const sql = operatorStatements(schema)
  return {
    schema: schemaControl(own, storeTables(schema)),
    pauses: pauseBoard(ports, sql),
    kept: keptMessages(ports, sql),
    examine: () => examine(ports, sql),
    async consumers({ limit }) {
      const { rows } = await own.run<{ name: string }>(
        'reading the consumers of the inbox',
        sql.consumers,
        [limit],
      )
      return rows.map(({ name }) => name)
    },
    overview: ({ keys }) =>
      reading(own, 'counting messages', (query) => overview(query, sql, keys)),
  }
}

/** In a transaction whose plans may read whole tables, unlike those of the relay. */
function reading<Result>(
  own: Own,
  doing: string,
  work: (query: Query) => Promise<Result>,
): Promise<Result> {
  return own.transaction(doing, async (query) => {
    await query('set local enable_seqscan = on')
    return await work(query)
  })
}

type Row = Readonly<Record<string, string | null>>

const number = (row: Row | undefined, name: string): number =>
  Math.max(0, Math.round(Number(row?.[name] ?? 0)))

async function overview(
  query: Query,
  sql: OperatorStatements,
  most: number,
): Promise<OutboxOverview> {
  const counts = (await query<Row>(sql.counts)).rows[0]
  const destinations = (await query<Row>(sql.destinations)).rows
  const keys = most === 0 ? [] : (await query<Row & { blocked: boolean }>(sql.keys, [most])).rows
  const added = counts?.['added'] ?? undefined
  return {
    pending: number(counts, 'pending'),
    due: number(counts, 'due'),
    claimed: number(counts, 'claimed'),
    dead: number(counts, 'moved') + number(counts, 'blocking'),
    oldestDueMs: number(counts, 'oldest_due_ms'),
    oldestMs: number(counts, 'oldest_ms'),
    waitingMs: number(counts, 'waiting_ms'),
    refused: number(counts, 'refused'),
    kept: number(counts, 'kept'),
    ...(added === undefined ? {} : { added: Number(added) }),
    destinations: destinations.map(destinationOverview),
    keys: keys.map(keyOverview),
  }
}

function destinationOverview(row: Row): DestinationOverview {
  const lastError = row['last_error'] ?? undefined
  return {
    destination: row['destination'] ?? '',
    pending: number(row, 'pending'),
    due: number(row, 'due'),
    claimed: number(row, 'claimed'),
    dead: number(row, 'moved') + number(row, 'blocking'),
    oldestDueMs: number(row, 'oldest_due_ms'),
    oldestMs: number(row, 'oldest_ms'),
    waitingMs: number(row, 'waiting_ms'),
    refused: number(row, 'refused'),
    ...(lastError === undefined ? {} : { lastError }),
  }
}

function keyOverview(row: Row & { readonly blocked: boolean }): KeyOverview {
  return {
    key: row['key'] ?? '',
    pending: number(row, 'pending'),
    oldestMs: number(row, 'oldest_ms'),
    blocked: row.blocked,
  }
}

interface PauseRow {
  readonly kind: 'destination' | 'key'
  readonly name: string
  readonly reason: string
  readonly since: string
}

function pauseBoard({ own, changed }: OperationsPorts, sql: OperatorStatements): PauseBoard {
  return {
    async list() {
      const { rows } = await own.run<PauseRow>('reading pauses', sql.pauses, [], { often: true })
      return rows.map(({ kind, name, reason, since }) => ({
        kind,
        name,
        reason,
        since: Math.round(Number(since)),
      }))
    },
    async pause({ kind, name }, reason) {
      const { rows } = await own.run<{ added: boolean }>('pausing', sql.pause, [kind, name, reason])
      changed()
      return rows[0]?.added === true
    },
    async resume({ kind, name }) {
      const { rowCount } = await own.run('resuming', sql.resume, [kind, name])
      changed()
      return rowCount === 1
    },
  }
}

interface Picked {
  readonly place: string
  readonly row: string
  readonly key: string | null
}

function keptMessages({ own, changed }: OperationsPorts, sql: OperatorStatements): KeptMessages {
  return {
    async count(filter) {
      const { text, values } = sql.countKept(filter)
      const { rows } = await reading(own, 'counting kept messages', (query) =>
        query<{ count: string }>(text, values),
      )
      return Number(rows[0]?.count ?? 0)
    },
    async replay(filter, { limit, newIds }) {
      const { text, values } = sql.pickKept(filter, limit)
      const moved = await reading(own, 'replaying kept messages', async (query) => {
        const { rows } = await query<Picked>(text, values)
        if (rows.length === 0) return 0
        // The keys before the positions, as for every other writer.
        await query(sql.lockKeys, [
          [...new Set(rows.flatMap(({ key }) => (key === null ? [] : [key])))],
        ])
        const { rowCount } = await query(sql.moveKept, [
          rows.map(({ place }) => place),
          rows.map(({ row }) => row),
          newIds,
        ])
        return rowCount ?? 0
      })
      if (moved > 0) changed()
      return moved
    },
  }
}
