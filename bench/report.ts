import type { Result } from './measure.ts'

/** A table of one section. */
export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** What was lost, doubled or out of order, and so makes the run worthless. */
  readonly faults: readonly string[]
  /** The figures behind the rows. */
  readonly data: unknown
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
const two = (value: number): string => value.toFixed(2)

/** `unit`: what the rate counts, such as `transactions/s`. The ratios are those to the first candidate. */
export function tableOf(title: string, unit: string, results: readonly Result[]): Table {
  const parts = Object.keys(results[0]?.cpu ?? {})
  const rows = results.map((result) => [
    result.name,
    whole(result.rate),
    `${whole(result.range[0])}–${whole(result.range[1])}`,
    two(result.ratio),
    `${two(result.ratioRange[0])}–${two(result.ratioRange[1])}`,
    ...parts.map((part) => two(result.cpu[part] ?? Number.NaN)),
    result.faults.length === 0 ? 'ok' : `**${result.faults.join('; ')}**`,
  ])
  const head = ['candidate', unit, 'range', 'ratio', 'range', ...parts.map((part) => `CPU s/100k ${part}`), 'check']
  return { title, head, rows, faults: results.flatMap(({ faults }) => faults), data: results }
}

export function markdown({ title, head, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [`### ${title}`, '', line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line), ''].join('\n')
}
