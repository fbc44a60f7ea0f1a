import { fork } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { median, type Result } from '../measure.ts'
import type { Outcome } from '../outcome.ts'
import type { Table } from '../report.ts'
import type { BenchServers } from '../servers.ts'
import { checkOut } from './checkout.ts'
import { lend, lending } from './lent-servers.ts'

/** A run of one section, on another revision and on this one. */
export interface Comparison {
  readonly section: string
  readonly revision: string
  /** Undefined: as many as two minutes have room for, and at least two. */
  readonly rounds: number | undefined
  /** What each of them is started with besides. */
  readonly given: readonly string[]
  readonly servers: BenchServers
}

const LONGEST_MS = 120_000
const FEWEST_ROUNDS = 2

/** One round of both. */
interface Pair {
  readonly base: Outcome
  readonly here: Outcome
}

/**
 * Runs base and change in turn, each round in the other order, in processes of their own on the same
 * servers.
 */
export async function compare(comparison: Comparison): Promise<Table[]> {
  const { commit, main } = checkOut(comparison.revision)
  const own = fileURLToPath(new URL('../main.ts', import.meta.url))
  const pairs: Pair[] = []
  const started = performance.now()
  const goesOn = (): boolean => {
    const { rounds } = comparison
    if (rounds !== undefined) return pairs.length < rounds
    const tookMs = performance.now() - started
    return pairs.length < FEWEST_ROUNDS || tookMs * (1 + 1 / pairs.length) < LONGEST_MS
  }
  while (goesOn()) {
    if (pairs.length % 2 === 0) {
      const base = await once(main, comparison)
      pairs.push({ base, here: await once(own, comparison) })
    } else {
      const here = await once(own, comparison)
      pairs.push({ base: await once(main, comparison), here })
    }
  }
  const [{ here: first }] = pairs as [Pair]
  return first.tables.flatMap((table, at) =>
    hasResults(table) ? [beside(table, at, pairs, commit)] : [],
  )
}

async function once(main: string, { section, given, servers }: Comparison): Promise<Outcome> {
  const child = fork(main, [section, '--runs', '1', '--json', '--without-peers', ...given], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, ...lending },
  })
  lend(servers, child)
  const said = await text(child.stdout as NodeJS.ReadableStream)
  const line = said.trim().split('\n').at(-1) ?? ''
  if (!line.startsWith('{')) throw new Error(`${main} measured nothing: ${said.slice(-500)}`)
  return JSON.parse(line) as Outcome
}

/** Some tables are of another kind, and are only read. */
const hasResults = ({ data }: Table): boolean =>
  Array.isArray(data) && data.every((result: Partial<Result>) => result.rate !== undefined)

const two = (value: number): string => value.toFixed(2)
const shown = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en-US') : two(value)
const sum = (cpu: Readonly<Record<string, number>>): number =>
  Object.values(cpu).reduce((total, part) => total + part, 0)

/** What of a candidate is compared, by heading; less is better of all but the rate. */
function figuresOf(result: Result): Readonly<Record<string, number>> {
  const { messages: _, ...figures } = result.figures
  return { rate: result.rate, ...figures, 'CPU s/100k': sum(result.cpu) }
}

function beside(table: Table, at: number, pairs: readonly Pair[], commit: string): Table {
  const resultsOf = ({ tables }: Outcome): readonly Result[] => tables[at]?.data as Result[]
  const find = (outcome: Outcome, name: string): Readonly<Record<string, number>> | undefined => {
    const result = resultsOf(outcome).find((each) => each.name === name)
    return result === undefined ? undefined : figuresOf(result)
  }
  const rows = resultsOf(pairs[0]?.here as Outcome).flatMap((result) =>
    Object.keys(figuresOf(result)).map((figure) => {
      const both = pairs.flatMap(({ base, here }) => {
        const [was, is] = [find(base, result.name)?.[figure], find(here, result.name)?.[figure]]
        return was === undefined || is === undefined ? [] : [{ was, is }]
      })
      const ratios = both.map(({ was, is }) => is / was)
      return [
        result.name,
        figure,
        shown(median(both.map(({ was }) => was))),
        shown(median(both.map(({ is }) => is))),
        two(median(ratios)),
        `${two(Math.min(...ratios))}–${two(Math.max(...ratios))}`,
      ]
    }),
  )
  return {
    id: `${table.id} beside ${commit}`,
    title: `${table.title}: ${commit} and this checkout, ${pairs.length} rounds`,
    head: ['candidate', 'figure', commit, 'here', 'here / base', 'range'],
    rows,
    faults: pairs.flatMap(({ base, here }) =>
      [base, here].flatMap(({ tables }) => tables[at]?.faults ?? []),
    ),
    data: pairs,
  }
}
