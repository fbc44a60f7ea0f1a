/** The cells as tables of Markdown: for the terminal, and for docs/reliability.md. */
import { sum, table, whole } from '../chaos/page-parts.ts'
import { type PlantedResult, plantedTable } from './planted.ts'
import { type CellResult, type MatrixResult, violations } from './matrix.ts'

const columns: readonly (readonly [head: string, of: (result: CellResult) => number])[] = [
  ['runs', ({ runs, invalid }) => runs + invalid.length],
  ['deaths', ({ runs }) => runs],
  ['messages', ({ messages }) => messages],
  ['effects missing, twice, or of another answer', ({ found }) => found.effects],
  ['repeats without their answer', ({ found }) => found.answers],
  ['sagas wrong', ({ found }) => found.sagas],
  ['timeouts lost or early', ({ found }) => found.timeouts],
  ['messages lost or phantom', ({ found }) => found.messages],
  ['replies wrong', ({ found }) => found.replies],
  ['reminders wrong', ({ found }) => found.cancels],
  ['invalid runs', ({ invalid }) => invalid.length],
]

function roadRows({ roads, points }: MatrixResult): string[][] {
  return roads.map((road) => {
    const results = points.flatMap(({ results }) => results[road] ?? [])
    return [
      road,
      String(results.length),
      ...columns.map(([, of]) => whole(sum(results.map((each) => of(each))))),
    ]
  })
}

/** Deaths; what must not be stands in bold. */
function cellText(result: CellResult | undefined): string {
  if (result === undefined) return '–'
  const bad = violations(result)
  return `${result.runs}${bad > 0 ? ` **${bad} violations**` : ''}`
}

function pointRows({ roads, points }: MatrixResult): string[][] {
  return points.flatMap(({ feature, name, meaning, results }) =>
    Object.keys(results).length === 0
      ? []
      : [[`${name} (${feature}): ${meaning}`, ...roads.map((road) => cellText(results[road]))]],
  )
}

export function matrixTables(result: MatrixResult): string {
  return `${table(['road', 'points', ...columns.map(([head]) => head)], roadRows(result))}

${table(['point', ...result.roads.map((road) => `${road}: deaths`)], pointRows(result))}`
}

/** The part of the page. */
export function featuresSection(result: MatrixResult, planted: PlantedResult): string {
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`)
  const all = result.points.flatMap(({ results }) => Object.values(results))
  const cancelled = sum(all.map((each) => each.cancelled))
  const looked = sum(all.map(({ throughOutcome }) => throughOutcome))
  return `## Killed in sagas, requests, \`once\` and \`cancel\`

\`npm run crash-features -- --rounds ${result.rounds}\` (${result.date}, ${versions.join(', ')}): one process serves HTTP, each request once, and asks for prices; another
has a saga, replies, and gets reminders. One of the two kills itself with SIGKILL at the point, as above, and is started again. A plain client repeats each request until it has an
answer, and once more at the end. Then the tables, the rows that wait, and a queue that a plain client reads are compared: each request has one effect, the one that its answer tells of;
each saga has ended once, or is open with the state that its messages have made and its timeout in the outbox; an asker that came back (\`outcome(id)\`, ${looked} times) knows the price
that was committed; what was taken back (${whole(cancelled)} times) never arrives, and everything else does.

${matrixTables(result)}

Bugs that were put into the bus for a cell (${planted.date}, \`node test/crash-features/planted.ts\`):

${plantedTable(planted)}

A point that is missing on SQLite: there a statement is a call, so nothing is sent and not answered, and the store knows of a commit when it is executed.
`
}
