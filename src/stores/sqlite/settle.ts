import type { Settlement, SettleResult } from '../../core/outbox.ts'
import {
  type AttemptedRow,
  type Kind,
  notedAttempt,
  notedError,
  type SettlementGroup,
  settlementGroups,
} from '../../sql/shared/settlements.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { NEVER } from './schema.ts'
import { outboxSql } from './statements/statements.ts'

export interface SettleTerms {
  readonly now: number
  readonly keepSent: boolean
}

/** Fenced row by row; repeating it changes nothing more. */
export function settle(
  handle: Handle,
  settlements: readonly Settlement[],
  terms: SettleTerms,
): SettleResult {
  let stale = settlements.length
  for (const group of settlementGroups(settlements)) stale -= settleGroup(handle, group, terms)
  return { stale }
}

/** Returns how many rows were changed. */
function settleGroup(handle: Handle, group: SettlementGroup, terms: SettleTerms): number {
  const { now, keepSent } = terms
  const remove = (row: Settlement): number => handle.run(outboxSql.remove, fenceOf(row)).changes
  const release = (row: Kind<'release'>): number => {
    const visibleAt = Math.ceil(now + (row.delayMs ?? 0))
    return handle.run(outboxSql.release, { ...fenceOf(row), visibleAt }).changes
  }
  const retry = (row: Kind<'retry'>): number => {
    const visibleAt = Math.ceil(now + row.delayMs)
    const history = noted(handle, row, now)
    return handle.run(outboxSql.retry, { ...fenceOf(row), visibleAt, history }).changes
  }
  switch (group.kind) {
    case 'sent':
      return count(group.rows, (row) => {
        if (keepSent) handle.run(outboxSql.keepSent, { ...fenceOf(row), now: Math.trunc(now) })
        return remove(row)
      })
    case 'gone':
      return count(group.rows, remove)
    case 'retry':
      return count(group.rows, retry)
    case 'release':
      return count(group.rows, release)
    case 'dead':
      return count(group.rows, (row) => bury(handle, row, now))
    default:
      return group satisfies never
  }
}

const fenceOf = ({ position, token }: Settlement) => ({ position, token }) as const

const count = <Row>(rows: readonly Row[], change: (row: Row) => number): number =>
  rows.reduce((sum, row) => sum + change(row), 0)

/** What is to be noted of its attempts; null for a row that is not ours any more. */
function noted(handle: Handle, row: Kind<'retry' | 'dead'>, now: number): string | null {
  const found = handle.get<Omit<AttemptedRow, 'position' | 'now'>>(
    outboxSql.attempted,
    fenceOf(row),
  )
  return found === undefined ? null : notedAttempt({ ...found, now }, row.error)
}

function bury(handle: Handle, settlement: Kind<'dead'>, now: number): number {
  const fence = fenceOf(settlement)
  const [buried] = handle.all<{ blocks: number }>(outboxSql.bury, {
    ...fence,
    block: settlement.onDead === 'block-key' ? 1 : 0,
    reason: settlement.reason,
    error: notedError(settlement),
    history: noted(handle, settlement, now),
    maybePublished: settlement.maybePublished ? 1 : 0,
    now: Math.trunc(now),
  })
  if (buried === undefined) return 0
  return buried.blocks === 1
    ? handle.run(outboxSql.block, { ...fence, never: NEVER }).changes
    : handle.run(outboxSql.remove, fence).changes
}
