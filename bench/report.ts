import type { Result } from './measure.ts'

/** A table of one section, as Markdown. */
export interface Table {
  readonly title: string
  /** What `rate` counts, such as `transactions/s`. */
  readonly unit: string
  readonly results: readonly Result[]
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
const two = (value: number): string => value.toFixed(2)

export function markdown({ title, unit, results }: Table): string {
  const parts = Object.keys(results[0]?.cpu ?? {})
  const head = ['candidate', unit, 'range', 'ratio', 'range', ...parts.map((part) => `CPU s/100k ${part}`), 'check']
  const rows = results.map((result) => [
    result.name,
    whole(result.rate),
    `${whole(result.range[0])}–${whole(result.range[1])}`,
    two(result.ratio),
    `${two(result.ratioRange[0])}–${two(result.ratioRange[1])}`,
    ...parts.map((part) => two(result.cpu[part] ?? Number.NaN)),
    result.faults.length === 0 ? 'ok' : `**${result.faults.join('; ')}**`,
  ])
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [`### ${title}`, '', line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line), ''].join('\n')
}
