/** Runs cells beside each other, and adds up what came out. */
import { join } from 'node:path'
import { buildPrograms } from '../../scripts/programs.ts'
import type { Findings } from './audit.ts'
import { type CellRun, type Outcome, runCell } from './cell.ts'
import { openServers, type Servers } from './eye.ts'
import type { Road } from './plan.ts'
import { type CrashPoint, crashPoints } from './points.ts'

/** Sums over the runs of one point on one road. */
export interface CellResult {
  readonly runs: number
  readonly messages: number
  readonly duplicates: number
  readonly cancelled: number
  /** Prices that an asker who came back has looked up. */
  readonly throughOutcome: number
  /** How often each check found something. */
  readonly found: Readonly<Record<keyof Findings, number>>
  /** Runs that came to no end, or whose process did not die where it should. */
  readonly invalid: readonly string[]
}

export interface MatrixResult {
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly runs: number
  readonly red: number
  readonly versions: Readonly<Record<string, string>>
  readonly roads: readonly string[]
  readonly points: readonly {
    readonly feature: string
    readonly name: string
    readonly meaning: string
    readonly absent?: string
    readonly results: Readonly<Record<string, CellResult>>
  }[]
}

const nothing: Readonly<Record<keyof Findings, number>> = {
  effects: 0,
  answers: 0,
  sagas: 0,
  timeouts: 0,
  messages: 0,
  replies: 0,
  cancels: 0,
}

const empty: CellResult = {
  runs: 0,
  messages: 0,
  duplicates: 0,
  cancelled: 0,
  throughOutcome: 0,
  found: nothing,
  invalid: [],
}

function added(sum: CellResult, { findings, counts }: Outcome): CellResult {
  const found = Object.fromEntries(
    Object.entries(findings).map(([name, list]: [string, readonly string[]]) => [
      name,
      sum.found[name as keyof Findings] + list.length,
    ]),
  ) as CellResult['found']
  return {
    ...sum,
    runs: sum.runs + 1,
    messages: sum.messages + counts.messages,
    duplicates: sum.duplicates + counts.duplicates,
    cancelled: sum.cancelled + counts.cancelled,
    throughOutcome: sum.throughOutcome + counts.throughOutcome,
    found,
  }
}

/** Things that must not be. */
export const violations = ({ found, invalid }: CellResult): number =>
  Object.values(found).reduce((sum, each) => sum + each, invalid.length)

/** The servers of some roads, and the programs. */
export interface Place extends AsyncDisposable {
  readonly programs: string
  readonly versions: Readonly<Record<string, string>>
  serversOf(road: Road): Servers
}

export async function openPlace(roads: readonly Road[]): Promise<Place> {
  await using stack = new AsyncDisposableStack()
  const here = import.meta.dirname
  const built = await buildPrograms('crash-features', [
    { in: join(here, 'worker.ts'), out: 'worker' },
    { in: join(here, '../crash-matrix/trap/trap.ts'), out: 'trap' },
  ])
  stack.use(built)
  const opened = await Promise.all(
    roads.map(async ({ name, database }) => [name, await openServers(database)] as const),
  )
  const servers = new Map(opened)
  for (const each of servers.values()) stack.use(each)
  const kept = stack.move()
  return {
    programs: built.folder,
    versions: Object.assign(
      { 'Node.js': process.versions.node },
      ...opened.map(([, { versions }]) => versions),
    ) as Record<string, string>,
    serversOf(road) {
      const found = servers.get(road.name)
      if (found === undefined) throw new Error(`the servers of ${road.name} were not started`)
      return found
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

export const runIn = (place: Place, run: CellRun): Promise<Outcome> =>
  runCell({ servers: place.serversOf(run.road), programs: place.programs }, run)

export interface MatrixOptions {
  readonly points: readonly CrashPoint[]
  readonly roads: readonly Road[]
  readonly rounds: number
  readonly atOnce: number
  readonly say: (text: string) => void
  /** After it no further cell is begun. */
  readonly enough: AbortSignal
}

export async function runMatrix(options: MatrixOptions): Promise<MatrixResult> {
  const { points, roads, rounds, atOnce, say, enough } = options
  const began = performance.now()
  await using place = await openPlace(roads)
  const cells = roads.flatMap((road) =>
    points
      .filter((point) => point.steps(road.database) !== undefined)
      .map((point) => ({ road, point })),
  )
  const results = new Map(cells.map((cell) => [cell, empty]))
  const waiting = Array.from({ length: rounds }, (_, round) =>
    cells.map((cell) => ({ cell, round })),
  ).flat()
  enough.addEventListener('abort', () => waiting.splice(0))
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { cell, round } = next
      const label = `${cell.point.name}, ${cell.road.name}`
      try {
        const outcome = await runIn(place, { ...cell, later: round % 2 })
        results.set(cell, added(results.get(cell) ?? empty, outcome))
        const found = Object.values(outcome.findings).flat() as string[]
        const said = found.length === 0 ? 'ok' : found.join('; ').slice(0, 500)
        say(`${label}: ${said} (${outcome.seconds.toFixed(1)} s)`)
      } catch (error) {
        const text = (error as Error).message
        const sum = results.get(cell) ?? empty
        results.set(cell, { ...sum, invalid: [...sum.invalid, text] })
        say(`${label}: ${text}`)
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  const all = [...results.values()]
  return {
    date: new Date().toISOString().slice(0, 10),
    rounds,
    seconds: Math.round((performance.now() - began) / 1000),
    runs: all.reduce((sum, { runs, invalid }) => sum + runs + invalid.length, 0),
    red: all.filter((result) => violations(result) > 0).length,
    versions: place.versions,
    roads: roads.map(({ name }) => name),
    points: crashPoints.map(({ feature, name, meaning, absent }) => ({
      feature,
      name,
      meaning,
      ...(absent === undefined ? {} : { absent }),
      results: Object.fromEntries(
        [...results]
          .filter(([{ point }]) => point.name === name)
          .map(([{ road }, result]) => [road.name, result]),
      ),
    })),
  }
}
