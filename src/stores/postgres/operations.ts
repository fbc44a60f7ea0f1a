import type { KeptFilter, StoreOperations } from '../../core/operations.ts'
import { postgresSchemaControl } from '../../sql/postgres/migrate.ts'
import type { Own, Query } from '../../sql/postgres/pool/pool.ts'
import {
  type OperatorPorts,
  type OverviewRows,
  type PauseRow,
  storeOperations,
  type TraceRow,
} from '../../sql/shared/operator-tools.ts'
import type { RefusedRow } from '../../sql/shared/refused-rows.ts'
import { examine } from './examine/examine.ts'
import { storeTables } from './schema.ts'
import { type OperatorStatements, operatorStatements } from './statements/operator-statements.ts'

export interface OperationsPorts {
  readonly own: Own
  readonly schema: string
  readonly keepSentMs: number
  /** Called after something was changed that relays wait for. */
  readonly changed: () => void
}

export function postgresOperations(ports: OperationsPorts): StoreOperations {
  const { own, schema, changed } = ports
  const sql = operatorStatements(schema)
  return storeOperations({
    changed,
    schema: postgresSchemaControl(own, storeTables(schema)),
    examine: () => examine(ports, sql),
    consumers: async (limit) =>
      (
        await own.run<{ name: string }>('reading the consumers of the inbox', sql.consumers, [
          limit,
        ])
      ).rows,
    overview: (keys) =>
      reading(own, 'counting messages', (query) => overviewRows(query, sql, keys)),
    async trace({ messageId, consumer }) {
      const values = [messageId, consumer]
      const { rows } = await own.run<TraceRow>('looking for a message', sql.trace, values)
      return rows[0] as TraceRow
    },
    async refused(after, limit) {
      const values = [after.toString(), limit]
      return (await own.run<RefusedRow>('reading refused messages', sql.refused, values)).rows
    },
    ...pausing(own, sql),
    countKept: (filter) => countKept(own, sql, filter),
    replay: (filter, options) =>
      reading(own, 'replaying kept messages', (query) => replay(query, sql, filter, options)),
  })
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

async function overviewRows(
  query: Query,
  sql: OperatorStatements,
  most: number,
): Promise<OverviewRows> {
  const rows = async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await query<Row>(text, values)).rows
  const [counts] = await rows<OverviewRows['counts']>(sql.counts)
  return {
    counts: counts as OverviewRows['counts'],
    destinations: await rows(sql.destinations),
    keys: most === 0 ? [] : await rows(sql.keys, [most]),
  }
}

function pausing(
  own: Own,
  sql: OperatorStatements,
): Pick<OperatorPorts, 'pauses' | 'pause' | 'resume'> {
  return {
    pauses: async () =>
      (await own.run<PauseRow>('reading pauses', sql.pauses, [], { often: true })).rows,
    async pause({ kind, name }, reason) {
      const { rows } = await own.run<{ added: boolean }>('pausing', sql.pause, [kind, name, reason])
      return rows[0]?.added === true
    },
    resume: async ({ kind, name }) =>
      (await own.run('resuming', sql.resume, [kind, name])).rowCount ?? 0,
  }
}

async function countKept(own: Own, sql: OperatorStatements, filter: KeptFilter): Promise<string> {
  const { text, values } = sql.countKept(filter)
  const { rows } = await reading(own, 'counting kept messages', (query) =>
    query<{ count: string }>(text, values),
  )
  return rows[0]?.count ?? '0'
}

interface Picked {
  readonly place: string
  readonly row: string
  readonly key: string | null
}

async function replay(
  query: Query,
  sql: OperatorStatements,
  filter: KeptFilter,
  { limit, newIds }: { readonly limit: number; readonly newIds: boolean },
): Promise<number> {
  const { text, values } = sql.pickKept(filter, limit)
  const { rows } = await query<Picked>(text, values)
  if (rows.length === 0) return 0
  // The keys before the positions, as for every other writer.
  const keys = new Set(rows.flatMap(({ key }) => (key === null ? [] : [key])))
  await query(sql.lockKeys, [[...keys]])
  const picked = [rows.map(({ place }) => place), rows.map(({ row }) => row)]
  return (await query(sql.moveKept, [...picked, newIds])).rowCount ?? 0
}
