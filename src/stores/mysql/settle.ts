import type { Claim, Settlement, SettleResult } from '../../core/outbox.ts'
import { bytesOf, microseconds, textOrNull } from '../../sql/mysql/bytes.ts'
import { type Own, type Query, listsOf } from '../../sql/mysql/own.ts'
import {
  type AttemptedRow,
  histories,
  type Kind,
  notedError,
  type SettlementGroup,
  settlementGroups,
} from '../../sql/shared/settlements.ts'
import { tokenText } from './encode.ts'
import type { Statements } from './statements/statements.ts'

export interface SettlePorts {
  readonly own: Own
  readonly sql: Statements
  readonly keepSent: boolean
}

const DOING = 'settling messages'

/** Everything of one call in one transaction, fenced row by row; repeating it changes nothing. */
export async function settle(
  settlements: readonly Settlement[],
  { own, sql, keepSent }: SettlePorts,
): Promise<SettleResult> {
  if (settlements.length === 0) return { stale: 0 }
  const groups = settlementGroups(settlements)
  const onlySent = groups.every(({ kind }) => kind === 'gone' || (kind === 'sent' && !keepSent))
  if (onlySent && groups.length > 0 && settlements.length <= MOST_ALONE) {
    // One statement, however many tokens there are: units in the express lane have one each.
    const changed = await removeSent(settlements, sql, (text, values) =>
      own.run(DOING, text, values),
    )
    return { stale: settlements.length - changed }
  }
  return await own.transaction(DOING, async (query) => {
    let changed = 0
    for (const group of groups) changed += await settleGroup(group, { query, sql, keepSent })
    return { stale: settlements.length - changed }
  })
}

/** Rows of one statement that is a transaction of its own. */
const MOST_ALONE = 900

async function removeSent(rows: readonly Claim[], sql: Statements, query: Query): Promise<number> {
  const [first] = rows
  const one = rows.every(({ token }) => token === first?.token)
  const sorted = inOrder(rows)
  const positions = sorted.map(({ position }) => position)
  return one
    ? (await query(sql.sent, [positions, tokenText(first?.token ?? '')])).changed
    : (await query(sql.sentMany, [positions, pairsOf(sorted)])).changed
}

/** Two calls lock rows in the same order. */
const inOrder = <Row extends Claim>(rows: readonly Row[]): Row[] =>
  [...rows].sort((a, b) => (a.position < b.position ? -1 : 1))

const pairsOf = (rows: readonly Claim[]): Buffer[] =>
  rows.map(({ position, token }) => bytesOf(`${position}:${tokenText(token)}`))

interface GroupPorts {
  readonly query: Query
  readonly sql: Statements
  readonly keepSent: boolean
}

/** Returns how many rows were changed. */
async function settleGroup(group: SettlementGroup, ports: GroupPorts): Promise<number> {
  switch (group.kind) {
    case 'sent':
    case 'gone':
      return await settleSent(group.rows, group.kind === 'sent' && ports.keepSent, ports)
    case 'retry':
      return await settleLater('retry', await noting(group.rows, ports), ports)
    case 'release':
      return await settleLater('release', group.rows, ports)
    case 'dead': {
      let changed = 0
      for (const row of await noting(group.rows, ports)) changed += await bury(row, ports)
      return changed
    }
    default:
      return group satisfies never
  }
}

async function settleSent(
  rows: readonly Claim[],
  keep: boolean,
  { query, sql }: GroupPorts,
): Promise<number> {
  let changed = 0
  for (const some of listsOf(rows)) {
    const values = [some.map(({ position }) => position), tokenText(some[0]?.token ?? '')]
    if (keep) await query(sql.keepSent, values)
    changed += (await query(sql.sent, values)).changed
  }
  return changed
}

type Noting<Row> = Row & { readonly history: string | null }

/** With what is to be noted of their attempts. Nobody else changes rows with our token. */
async function noting<Row extends Kind<'retry' | 'dead'>>(
  rows: readonly Row[],
  { query, sql }: GroupPorts,
): Promise<readonly Noting<Row>[]> {
  const noted: Noting<Row>[] = []
  for (const some of listsOf(rows)) {
    const values = [some.map(({ position }) => position), tokenText(some[0]?.token ?? '')]
    const found = await query<AttemptedRow>(sql.attempted, values)
    const read = found.rows.map((row) => ({ ...row, history: textOrNull(row.history) }))
    const texts = histories(some, read)
    noted.push(...some.map((row, index) => ({ ...row, history: texts[index] ?? null })))
  }
  return noted
}

const bytesOrNull = (text: string | null): Buffer | null => (text === null ? null : bytesOf(text))

/** One statement for all rows that wait for the same time, for the same reason. */
async function settleLater(
  kind: 'retry' | 'release',
  rows: readonly (Noting<Kind<'retry'>> | Kind<'release'>)[],
  { query, sql }: GroupPorts,
): Promise<number> {
  const alike = Map.groupBy(rows, (row) =>
    [row.delayMs ?? 0, notedError(row), 'history' in row ? row.history : ''].join(' '),
  )
  let changed = 0
  for (const group of alike.values()) {
    for (const some of listsOf(group)) {
      const [first] = some
      if (first === undefined) continue
      const positions = some.map(({ position }) => position)
      const notes = [notedError(first), ...('history' in first ? [first.history] : [])]
      const fence = [positions, tokenText(first.token)]
      const values = [microseconds(first.delayMs ?? 0), ...notes.map(bytesOrNull), ...fence]
      changed += (await query(sql[kind], values)).changed
    }
  }
  return changed
}

async function bury(row: Noting<Kind<'dead'>>, { query, sql }: GroupPorts): Promise<number> {
  const { position, reason, onDead, maybePublished } = row
  const token = tokenText(row.token)
  const error = bytesOf(notedError(row) ?? '')
  const blocks = onDead === 'block-key' ? 1 : 0
  const history = bytesOrNull(row.history)
  const values = [blocks, reason, error, history, maybePublished ? 1 : 0, position, token]
  if ((await query(sql.bury, values)).changed === 0) return 0
  const { changed } = await query(sql.removeBuried, [position, token, 1 - blocks])
  return changed === 1 ? 1 : (await query(sql.block, [error, position, token])).changed
}

/** Lets claims hold for longer. */
export async function renew(
  claims: readonly Claim[],
  claimMs: number,
  { own, sql }: Pick<SettlePorts, 'own' | 'sql'>,
): Promise<void> {
  await own.transaction('renewing claims', async (query) => {
    for (const some of listsOf(inOrder(claims)))
      await query(sql.renew, [
        microseconds(claimMs),
        some.map(({ position }) => position),
        pairsOf(some),
      ])
  })
}
