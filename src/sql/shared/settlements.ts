import { historyWith } from '../../core/errors/attempts.ts'
import { errorText } from '../../core/errors/error-text.ts'
import type { Settlement } from '../../core/outbox.ts'
import type { Whole } from './rows.ts'

export type Kind<Name extends Settlement['kind']> = Extract<Settlement, { kind: Name }>

interface Group<Name, Row> {
  readonly kind: Name
  readonly token: string
  readonly rows: readonly Row[]
}

/** Settlements of one kind and one token: one statement in a dialect that has arrays. */
export type SettlementGroup =
  | Group<'sent', Kind<'sent'>>
  /** Sent, and not to be kept. */
  | Group<'gone', Kind<'sent'>>
  | Group<'retry', Kind<'retry'>>
  | Group<'release', Kind<'release'>>
  | Group<'dead', Kind<'dead'>>

const kinds = ['sent', 'gone', 'retry', 'release', 'dead'] as const

const kindOf = (settlement: Settlement): (typeof kinds)[number] =>
  settlement.kind === 'sent' && settlement.keep === false ? 'gone' : settlement.kind

/**
 * Groups by kind and token. The rows of a group are sorted by position, so that two calls lock rows
 * in the same order.
 */
export function settlementGroups(settlements: readonly Settlement[]): readonly SettlementGroup[] {
  const sorted = [...settlements].sort((a, b) =>
    a.position < b.position ? -1 : a.position > b.position ? 1 : 0,
  )
  const byKind = Map.groupBy(sorted, kindOf)
  return kinds.flatMap((kind) => {
    const byToken = Map.groupBy(byKind.get(kind) ?? [], ({ token }) => token)
    return [...byToken].map(([token, rows]) => ({ kind, token, rows }) as SettlementGroup)
  })
}

export const positionsOf = (rows: readonly Settlement[]): string[] =>
  rows.map(({ position }) => position.toString())

/** What is noted of an error with its row. */
export const notedError = ({ error }: { readonly error?: Error }): string | null =>
  error === undefined ? null : errorText(error)

/** What is known of a row whose attempt has failed. */
export interface AttemptedRow {
  readonly position: Whole
  readonly attempts: Whole
  readonly history: string | null
  /** Milliseconds since the Unix epoch. */
  readonly now: Whole
}

export const notedAttempt = (row: Omit<AttemptedRow, 'position'>, error: Error): string =>
  historyWith(row.history, { attempt: Number(row.attempts), at: Number(row.now), error })

/** What is to be noted of the attempts of each; null for a row that is not ours any more. */
export function histories(
  rows: readonly Kind<'retry' | 'dead'>[],
  attempted: readonly AttemptedRow[],
): (string | null)[] {
  const found = new Map(attempted.map((row) => [BigInt(row.position), row]))
  return rows.map(({ position, error }) => {
    const row = found.get(position)
    return row === undefined ? null : notedAttempt(row, error)
  })
}
