/** `node test/crash-features/planted.ts [--road SQLite --json]`: are the bugs noticed? */
import { parseArgs } from 'node:util'
import { table } from '../chaos/page-parts.ts'
import { cellRun, plantedIn } from './expected.ts'
import { openPlace, type Place, runIn } from './matrix.ts'
import { type Road, roads } from './plan.ts'

export interface PlantedResult {
  readonly date: string
  readonly bugs: readonly {
    readonly says: string
    readonly road: string
    readonly point: string
    /** The checks that found something, and how often. */
    readonly by: Readonly<Record<string, number>>
  }[]
}

export function plantedTable({ bugs }: PlantedResult): string {
  const rows = bugs.map(({ says, road, point, by }) => {
    const names = Object.entries(by).map(([name, count]) => `${name} (${count})`)
    return [says, road, point, names.length === 0 ? '**nobody**' : names.join(', ')]
  })
  return table(['bug', 'road', 'killed at', 'noticed by'], rows)
}

async function tried(place: Place, road: Road): Promise<PlantedResult['bugs']> {
  const found: PlantedResult['bugs'][number][] = []
  for (const { bug, says, point } of plantedIn(road)) {
    const { findings } = await runIn(place, cellRun(road, point, bug))
    const by = Object.fromEntries(
      Object.entries(findings).flatMap(([name, list]: [string, readonly string[]]) =>
        list.length === 0 ? [] : [[name, list.length]],
      ),
    )
    process.stderr.write(`  ${bug}, ${road.name}: ${JSON.stringify(by)}\n`)
    found.push({ says, road: road.name, point, by })
  }
  return found
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { road: { type: 'string' }, json: { type: 'boolean', default: false } },
  })
  const chosen = roads.filter(
    ({ name }) => values.road === undefined || name.startsWith(values.road),
  )
  await using place = await openPlace(chosen)
  const bugs = await Promise.all(chosen.map((road) => tried(place, road)))
  const result = { date: new Date().toISOString().slice(0, 10), bugs: bugs.flat() }
  process.stdout.write(
    values.json ? `${JSON.stringify(result, null, 2)}\n` : `${plantedTable(result)}\n`,
  )
  return result.bugs.every(({ by }) => Object.keys(by).length > 0) ? 0 : 1
}

if (import.meta.main) process.exitCode = await main()
