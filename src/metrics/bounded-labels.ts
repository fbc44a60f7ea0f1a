import type { Sample } from './exposition.ts'

/**
 * Most destinations that metrics name one by one: whoever collects the metrics pays for each.
 */
export const MOST_DESTINATIONS = 100
/** Stands for all others. No destination has this name, since theirs have slashes. */
export const OTHER = 'other'

/** The rows that weigh most, in their old order, and the others. */
export function heaviest<Row>(
  rows: readonly Row[],
  weight: (row: Row) => number,
): { readonly shown: readonly Row[]; readonly others: readonly Row[] } {
  if (rows.length <= MOST_DESTINATIONS) return { shown: rows, others: [] }
  const sorted = [...rows].sort((a, b) => weight(b) - weight(a))
  const named = new Set(sorted.slice(0, MOST_DESTINATIONS))
  return { shown: rows.filter((row) => named.has(row)), others: sorted.slice(MOST_DESTINATIONS) }
}

export const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0)
export const largest = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, value), 0)

/** One sample for each row that is named, and one for the others together. */
export function boundedSamples<Row>(
  { shown, others }: ReturnType<typeof heaviest<Row>>,
  labels: (row: Row | undefined) => Readonly<Record<string, string>>,
  value: (row: Row) => number,
  together: (values: readonly number[]) => number,
): readonly Sample[] {
  const rest =
    others.length === 0 ? [] : [{ labels: labels(undefined), value: together(others.map(value)) }]
  return [...shown.map((row) => ({ labels: labels(row), value: value(row) })), ...rest]
}
