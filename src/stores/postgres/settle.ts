import type { Settlement, SettleResult } from '../../core/outbox.ts'
import type { Own, Query } from '../../sql/postgres/pool/pool.ts'
import {
  type AttemptedRow,
  histories,
  notedError,
  positionsOf,
  type SettlementGroup,
  settlementGroups,
} from '../../sql/shared/settlements.ts'
import { tokenUuid } from './encode.ts'
import type { Statements } from './statements/statements.ts'

export interface SettlePorts {
  readonly own: Own
  readonly sql: Statements
  readonly keepSent: boolean
}

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

/** One statement, however many tokens there are: units in the express lane have one each. */
function sentStatement(
  groups: readonly SettlementGroup[],
  { sql, keepSent }: SettlePorts,
): Statement | undefined {
  const [first, ...others] = groups.filter(({ kind }) => kind === 'sent')
  if (first === undefined) return undefined
  if (others.length === 0)
    return {
      text: keepSent ? sql.sentKept : sql.sent,
      values: [positionsOf(first.rows), tokenUuid(first.token)],
    }
  const rows = [first, ...others].flatMap((group): readonly Settlement[] => group.rows)
  return {
    text: keepSent ? sql.sentManyKept : sql.sentMany,
    values: [positionsOf(rows), rows.map(({ token }) => tokenUuid(token))],
  }
}

/** Nobody else changes these rows as long as the token is ours. */
const attempted = async (
  fence: readonly unknown[],
  sql: Statements,
  query: Query,
): Promise<readonly AttemptedRow[]> => (await query<AttemptedRow>(sql.attempted, fence)).rows

/** Returns how many rows were changed. */
async function settleGroup(group: SettlementGroup, sql: Statements, query: Query): Promise<number> {
  const { rows } = group
  const fence = [positionsOf(rows), tokenUuid(group.token)]
  const run = async (text: string, values: readonly unknown[] = []): Promise<number> =>
    (await query(text, [...fence, ...values])).rowCount ?? 0
  switch (group.kind) {
    case 'sent': // by `sentStatement`
      return 0
    case 'gone':
      return run(sql.sent)
    case 'retry': {
      const delays = group.rows.map(({ delayMs }) => delayMs)
      const noted = histories(group.rows, await attempted(fence, sql, query))
      return run(sql.retry, [delays, group.rows.map(notedError), noted])
    }
    case 'release': {
      const delays = group.rows.map(({ delayMs }) => delayMs ?? 0)
      return run(sql.release, [delays, group.rows.map(notedError)])
    }
    case 'dead': {
      const values = [
        group.rows.map(({ reason }) => reason),
        group.rows.map(notedError),
        group.rows.map(({ maybePublished }) => maybePublished),
        group.rows.map(({ onDead }) => onDead === 'skip'),
        histories(group.rows, await attempted(fence, sql, query)),
      ]
      const moved = await run(sql.deadMove, values)
      // The others block their key, are too large to be moved, or are not ours any more.
      return moved + (moved < rows.length ? await run(sql.deadBlock, values) : 0)
    }
    default:
      return group satisfies never
  }
}

/**
 * Everything of one call in one transaction, fenced row by row; repeating it changes nothing more.
 */
export async function settle(
  settlements: readonly Settlement[],
  ports: SettlePorts,
): Promise<SettleResult> {
  if (settlements.length === 0) return { stale: 0 }
  const all = settlementGroups(settlements)
  try {
    return { stale: settlements.length - (await record(all, ports)) }
  } catch (error) {
    // 23514 with kept rows: the partition of this day does not exist yet.
    if (
      !ports.keepSent ||
      (error as { details?: { sqlState?: unknown } }).details?.sqlState !== '23514'
    )
      throw error
    await ports.own.run(DOING, ports.sql.partitions, [])
    return { stale: settlements.length - (await record(all, ports)) }
  }
}

const DOING = 'settling messages'

/** Returns how many rows were changed. */
async function record(groups: readonly SettlementGroup[], ports: SettlePorts): Promise<number> {
  const { own, sql } = ports
  const sent = sentStatement(groups, ports)
  if (sent !== undefined && groups.every(({ kind }) => kind === 'sent'))
    return (await own.run(DOING, sent.text, sent.values, { often: true })).rowCount ?? 0
  return await own.transaction(DOING, async (query) => {
    let changed = sent === undefined ? 0 : ((await query(sent.text, sent.values)).rowCount ?? 0)
    for (const group of groups) changed += await settleGroup(group, sql, query)
    return changed
  })
}
