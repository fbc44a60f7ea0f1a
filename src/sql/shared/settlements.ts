import { errorText } from '../../core/errors/error-text.ts'
import type { Settlement } from '../../core/outbox.ts'

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
