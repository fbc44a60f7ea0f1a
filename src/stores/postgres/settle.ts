import { errorText } from '../../core/errors/error-text.ts'
import type { Settlement, SettleResult } from '../../core/outbox.ts'
import type { Own, Query } from '../../sql/postgres/pool/pool.ts'
import { tokenUuid } from './rows.ts'
import type { Statements } from './statements/statements.ts'

type Kind<Name extends Settlement['kind']> = Extract<Settlement, { kind: Name }>

interface Group {
  readonly token: string
  readonly sent: Kind<'sent'>[]
  /** Sent, and not to be kept. */
  readonly gone: Kind<'sent'>[]
  readonly retry: Kind<'retry'>[]
  readonly release: Kind<'release'>[]
  readonly dead: Kind<'dead'>[]
}

/**
 * By token: one statement per kind and token. Sorted by position, so that two of them lock rows in
 * the same order.
 */
function groups(settlements: readonly Settlement[]): Group[] {
  const byToken = new Map<string, Group>()
  const sorted = [...settlements].sort((a, b) =>
    a.position < b.position ? -1 : a.position > b.position ? 1 : 0,
  )
  for (const settlement of sorted) {
    let group = byToken.get(settlement.token)
    if (group === undefined) {
      group = {
        token: tokenUuid(settlement.token),
        sent: [],
        gone: [],
        retry: [],
        release: [],
        dead: [],
      }
      byToken.set(settlement.token, group)
    }
    const kind = settlement.kind === 'sent' && settlement.keep === false ? 'gone' : settlement.kind
    ;(group[kind] as Settlement[]).push(settlement)
  }
  return [...byToken.values()]
}

const positions = (settlements: readonly Settlement[]): string[] =>
  settlements.map(({ position }) => position.toString())

export interface SettlePorts {
  readonly own: Own
  readonly sql: Statements
  readonly keepSent: boolean
}

/** One statement, however many tokens there are: units in the express lane have one each. */
function sentStatement(
  all: readonly Group[],
  { sql, keepSent }: SettlePorts,
): { readonly text: string; readonly values: unknown[] } | undefined {
  const [first, ...others] = all.filter(({ sent }) => sent.length > 0)
  if (first === undefined) return undefined
  if (others.length === 0)
    return {
      text: keepSent ? sql.sentKept : sql.sent,
      values: [positions(first.sent), first.token],
    }
  const rows = [first, ...others]
  const tokens = rows.flatMap(({ sent, token }) => sent.map(() => token))
  return {
    text: keepSent ? sql.sentManyKept : sql.sentMany,
    values: [positions(rows.flatMap(({ sent }) => sent)), tokens],
  }
}

async function settleGroup(group: Group, sql: Statements, query: Query): Promise<number> {
  let changed = 0
  const run = async (
    text: string,
    rows: readonly Settlement[],
    ...values: readonly unknown[]
  ): Promise<void> => {
    if (rows.length > 0)
      changed += (await query(text, [positions(rows), group.token, ...values])).rowCount ?? 0
  }
  const { gone, retry, release, dead } = group
  await run(sql.sent, gone)
  await run(
    sql.retry,
    retry,
    retry.map(({ delayMs }) => delayMs),
    retry.map(({ error }) => errorText(error)),
  )
  await run(
    sql.release,
    release,
    release.map(({ delayMs }) => delayMs ?? 0),
    release.map(({ error }) => (error === undefined ? null : errorText(error))),
  )
  const deadValues = [
    dead.map(({ reason }) => reason),
    dead.map(({ error }) => errorText(error)),
    dead.map(({ maybePublished }) => maybePublished),
    dead.map(({ onDead }) => onDead === 'skip'),
  ]
  const before = changed
  await run(sql.deadMove, dead, ...deadValues)
  // The others block their key, are too large to be moved, or are not ours any more.
  if (changed - before < dead.length) await run(sql.deadBlock, dead, ...deadValues)
  return changed
}

/**
 * Everything of one call in one transaction, fenced row by row; repeating it changes nothing more.
 */
export async function settle(
  settlements: readonly Settlement[],
  ports: SettlePorts,
): Promise<SettleResult> {
  if (settlements.length === 0) return { stale: 0 }
  const all = groups(settlements)
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
async function record(all: readonly Group[], ports: SettlePorts): Promise<number> {
  const { own, sql } = ports
  const sent = sentStatement(all, ports)
  if (
    sent !== undefined &&
    all.every(
      ({ gone, retry, release, dead }) =>
        gone.length + retry.length + release.length + dead.length === 0,
    )
  )
    return (await own.run(DOING, sent.text, sent.values, { often: true })).rowCount ?? 0
  return await own.transaction(DOING, async (query) => {
    let changed = sent === undefined ? 0 : ((await query(sent.text, sent.values)).rowCount ?? 0)
    for (const group of all) changed += await settleGroup(group, sql, query)
    return changed
  })
}
