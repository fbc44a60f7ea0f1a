import type { Result } from './input.ts'

export interface Row {
  readonly generator: string
  readonly adapter: string
  readonly inputs: number
  readonly refused: number
  readonly roundTrips: number
  readonly failed: number
}

/** One row for each generator on each adapter. */
export function rowsOf(results: readonly Result[]): readonly Row[] {
  const groups = Map.groupBy(results, ({ generator, adapter }) => `${generator}\n${adapter}`)
  return [...groups.values()].map((group) => {
    const count = (verdict: Result['verdict']): number =>
      group.filter((result) => result.verdict === verdict).length
    const { generator, adapter } = group[0]!
    return {
      generator,
      adapter,
      inputs: group.length,
      refused: count('refused'),
      roundTrips: count('round trip'),
      failed: count('failed'),
    }
  })
}

export function tableOf(results: readonly Result[]): string {
  const head = ['generator', 'adapter', 'inputs', 'refused', 'round trips', 'failed']
  const rows = rowsOf(results).map((row) =>
    [row.generator, row.adapter, row.inputs, row.refused, row.roundTrips, row.failed].map(String),
  )
  const different = new Set(results.map(({ generator, input }) => `${generator} ${input}`)).size
  const lines = [head, ...rows].map(([generator = '', adapter = '', ...counts]) =>
    [generator.padEnd(9), adapter.padEnd(17), ...counts.map((count) => count.padStart(11))].join(
      ' ',
    ),
  )
  return `${lines.join('\n')}\n${different} different inputs, ${results.length} judged\n`
}
