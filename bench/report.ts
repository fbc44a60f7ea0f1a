import type { Result } from './measure.ts'
import { isPeer } from './peers/names.ts'

/** A table of one section. */
export interface Table {
  /** Short and stable: the goals find the table by it. */
  readonly id: string
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** What was lost, doubled or out of order, by anybody: the run ends with 1. */
  readonly faults: readonly string[]
  /**
   * Those of `faults` that are another library's: a finding about it, which does not make the rest
   * worthless.
   */
  readonly peerFaults?: readonly string[]
  /** What a reader has to know besides, such as what was left out. */
  readonly notes?: readonly string[]
  /** The figures behind the rows. */
  readonly data: unknown
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
const two = (value: number): string => value.toFixed(2)

export interface Heading {
  readonly id: string
  readonly title: string
  /** What the rate counts, such as `transactions/s`. */
  readonly unit: string
  readonly notes?: readonly string[]
}

/** The ratios are those to the first candidate. */
export function tableOf(
  { id, title, unit, notes = [] }: Heading,
  results: readonly Result[],
): Table {
  const parts = [...new Set(results.flatMap(({ cpu }) => Object.keys(cpu)))]
  const figures = [...new Set(results.flatMap((result) => Object.keys(result.figures)))]
  const cell = (value: number | undefined): string =>
    value === undefined ? '–' : value >= 1000 ? whole(value) : two(value)
  const rows = results.map((result) => [
    result.name,
    whole(result.rate),
    `${whole(result.range[0])}–${whole(result.range[1])}`,
    two(result.ratio),
    `${two(result.ratioRange[0])}–${two(result.ratioRange[1])}`,
    ...figures.map((name) => cell(result.figures[name])),
    ...parts.map((part) => cell(result.cpu[part])),
    result.faults.length === 0 ? 'ok' : `**${result.faults.join('; ')}**`,
  ])
  const head = [
    'candidate',
    unit,
    'range',
    'ratio',
    'range',
    ...figures,
    ...parts.map((part) => `CPU s/100k ${part}`),
    'check',
  ]
  return {
    id,
    title,
    head,
    rows,
    notes,
    faults: faultsOf(results),
    peerFaults: faultsOf(results.filter(({ name }) => isPeer(name))),
    data: results,
  }
}

const faultsOf = (results: readonly Result[]): string[] => results.flatMap(({ faults }) => faults)

/** How many of the faults are not another library's. */
export const ownFaults = ({ faults, peerFaults = [] }: Table): number =>
  faults.length - peerFaults.length

export function markdown({ title, head, rows, notes = [] }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const table = [
    line(head),
    line(head.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
    '',
  ]
  return [`### ${title}`, '', ...table, ...notes.flatMap((note) => [note, ''])].join('\n')
}
