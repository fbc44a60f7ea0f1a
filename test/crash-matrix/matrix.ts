/** Runs cells beside each other, and adds up what came out. */
import { type Outcome, runCell } from './cell.ts'
import type { Place } from './place.ts'
import { type Cell, crashPoints, relayKinds } from './points.ts'

/** Sums over the runs of one point on one road. */
export interface CellResult {
  readonly runs: number
  readonly crashes: number
  readonly messages: number
  readonly lost: number
  readonly phantom: number
  readonly duplicateEffects: number
  readonly missingEffects: number
  readonly reordered: number
  /** Wrong inboxes, and what somebody still held. */
  readonly leftovers: number
  readonly duplicates: number
  readonly bound: number
  /** Copies that nothing explains. */
  readonly tooManyCopies: number
  readonly lostClaims: number
  /** Runs that came to no end, or whose process did not die where it should. */
  readonly invalid: readonly string[]
}

export interface MatrixResult {
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly versions: Readonly<Record<string, string>>
  readonly kinds: readonly string[]
  readonly points: readonly {
    readonly name: string
    readonly listed: boolean
    readonly meaning: string
    /** Why it does not exist where there is no result. */
    readonly absent?: string
    readonly results: Readonly<Record<string, CellResult>>
  }[]
}

const empty: CellResult = {
  runs: 0,
  crashes: 0,
  messages: 0,
  lost: 0,
  phantom: 0,
  duplicateEffects: 0,
  missingEffects: 0,
  reordered: 0,
  leftovers: 0,
  duplicates: 0,
  bound: 0,
  tooManyCopies: 0,
  lostClaims: 0,
  invalid: [],
}

function added(sum: CellResult, { findings, counts, crashes }: Outcome): CellResult {
  return {
    ...sum,
    runs: sum.runs + 1,
    crashes: sum.crashes + crashes,
    messages: sum.messages + counts.messages,
    lost: sum.lost + findings.lost.length,
    phantom: sum.phantom + findings.phantom.length,
    duplicateEffects: sum.duplicateEffects + findings.duplicateEffects.length,
    missingEffects: sum.missingEffects + findings.missingEffects.length,
    reordered: sum.reordered + findings.reordered.length,
    leftovers: sum.leftovers + findings.inbox.length + findings.left.length,
    duplicates: sum.duplicates + counts.duplicates,
    bound: sum.bound + counts.bound,
    tooManyCopies: sum.tooManyCopies + findings.tooManyCopies.length,
    lostClaims: sum.lostClaims + counts.lostClaims,
  }
}

/** Things that must not be. */
export function violations(result: CellResult): number {
  const {
    lost,
    phantom,
    duplicateEffects,
    missingEffects,
    reordered,
    leftovers,
    tooManyCopies,
    invalid,
  } = result
  return (
    lost +
    phantom +
    duplicateEffects +
    missingEffects +
    reordered +
    leftovers +
    tooManyCopies +
    invalid.length
  )
}

export interface MatrixOptions {
  readonly cells: readonly Cell[]
  readonly rounds: number
  readonly atOnce: number
  readonly say: (text: string) => void
  /** After it no further cell is begun. */
  readonly enough?: AbortSignal
}

/** Later rounds kill at a later coming of the moment, where it comes that often. */
export const laterIn = ({ trap }: Cell, round: number): number =>
  round % (trap.steps.at(-1)?.nth ?? 1)

export async function runMatrix(
  place: Place,
  { cells, rounds, atOnce, say, enough }: MatrixOptions,
): Promise<MatrixResult> {
  const began = performance.now()
  const results = new Map<Cell, CellResult>(cells.map((cell) => [cell, empty]))
  const waiting = Array.from({ length: rounds }, (_, round) =>
    cells.map((cell) => ({ cell, round })),
  ).flat()
  enough?.addEventListener('abort', () => waiting.splice(0))
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { cell, round } = next
      const sum = results.get(cell) ?? empty
      const label = `${cell.point.name}, ${cell.kind.name}`
      try {
        const outcome = await runCell(place, { ...cell, later: laterIn(cell, round) })
        results.set(cell, added(results.get(cell) ?? empty, outcome))
        const found = Object.values(outcome.findings).flat() as string[]
        say(
          `${label}: ${found.length === 0 ? 'ok' : found.join('; ').slice(0, 500)} (${outcome.seconds.toFixed(1)} s)`,
        )
      } catch (error) {
        const text = (error as Error).message
        results.set(cell, { ...sum, invalid: [...sum.invalid, text] })
        say(`${label}: ${text}`)
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  return {
    date: new Date().toISOString().slice(0, 10),
    rounds,
    seconds: Math.round((performance.now() - began) / 1000),
    versions: place.versions,
    kinds: relayKinds
      .filter((kind) => cells.some((cell) => cell.kind === kind))
      .map(({ name }) => name),
    points: crashPoints.map(({ name, listed, meaning, absent }) => ({
      name,
      listed,
      meaning,
      ...(absent.length === 0 ? {} : { absent: absent.join('; ') }),
      results: Object.fromEntries(
        [...results]
          .filter(([cell]) => cell.point.name === name)
          .map(([cell, result]) => [cell.kind.name, result]),
      ),
    })),
  }
}
