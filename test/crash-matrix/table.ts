/** The matrix as tables of Markdown: for the terminal, and for docs/reliability.md. */
import { table } from '../chaos/page-parts.ts'
import { type CellResult, type MatrixResult, violations } from './matrix.ts'

const sum = (results: readonly CellResult[], of: (result: CellResult) => number): string =>
  results.reduce((total, each) => total + of(each), 0).toLocaleString('en-US')

const columns: readonly (readonly [head: string, of: (result: CellResult) => number])[] = [
  ['runs', ({ runs }) => runs],
  ['deaths', ({ crashes }) => crashes],
  ['messages', ({ messages }) => messages],
  ['lost', ({ lost }) => lost],
  ['phantom', ({ phantom }) => phantom],
  ['effects twice', ({ duplicateEffects }) => duplicateEffects],
  ['effects missing', ({ missingEffects }) => missingEffects],
  ['reordered', ({ reordered }) => reordered],
  ['left over', ({ leftovers }) => leftovers],
  ['copies too many', ({ duplicates }) => duplicates],
  ['of these explained at most', ({ bound }) => bound],
  ['unexplained', ({ tooManyCopies }) => tooManyCopies],
  ['claims lost by the living', ({ lostClaims }) => lostClaims],
  ['invalid runs', ({ invalid }) => invalid.length],
]

function kindRows({ kinds, points }: MatrixResult): string[][] {
  return kinds.flatMap((kind) => {
    const results = points.flatMap(({ results }) => results[kind] ?? [])
    return results.length === 0
      ? []
      : [[kind, String(results.length), ...columns.map(([, of]) => sum(results, of))]]
  })
}

/** Deaths, and how many copies too many they made; what must not be stands in bold. */
function cellText(result: CellResult | undefined): string {
  if (result === undefined) return '–'
  const bad = violations(result)
  return `${result.crashes} / ${result.duplicates}${bad > 0 ? ` **${bad} violations**` : ''}`
}

function pointRows({ kinds, points }: MatrixResult): string[][] {
  return points.flatMap(({ name, listed, meaning, results }) =>
    Object.keys(results).length === 0
      ? []
      : [
          [
            `${listed ? name : `*${name}*`}: ${meaning}`,
            ...kinds.map((kind) => cellText(results[kind])),
          ],
        ],
  )
}

export function matrixTables(result: MatrixResult): string {
  return `${table(['relay kind', 'points', ...columns.map(([head]) => head)], kindRows(result))}

${table(['point', ...result.kinds.map((kind) => `${kind}: deaths / copies too many`)], pointRows(result))}`
}

/** Why a point of the list has no result, or not on every road. */
function absentRows({ kinds, points }: MatrixResult): string[] {
  return points.flatMap(({ name, meaning, absent, results }) => {
    const missing = kinds.filter((kind) => results[kind] === undefined)
    if (missing.length === 0) return []
    const where = missing.length === kinds.length ? 'nowhere' : `not on ${missing.join('; ')}`
    return [`- ${name} (${meaning}): ${where}. ${absent ?? ''}`.trimEnd()]
  })
}

/** The part of the page. */
export function matrixSection(result: MatrixResult, title = 'Killed at every point'): string {
  const listed = result.points.filter((point) => point.listed)
  const tried = listed.filter(({ results }) => Object.keys(results).length > 0).length
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`)
  return `## ${title}

\`npm run crash-matrix -- --rounds ${result.rounds}\` (${result.date}, ${versions.join(', ')}): real processes on a database and a broker of their own. One of them kills itself with SIGKILL
at the n-th coming of the point and writes down before that it is there; a run without that proof is invalid. The others live on, it is started again, everything is drained and
compared: the tables, a queue that a plain client reads, the claims that a trigger has seen, and what is left over. ${tried} of the ${listed.length} well-known points exist here; those in
italics are our own. A copy too many is *explained* by a death, or a claim that ran out, that hit this very message. CI runs the listed points, as many roads as its time allows; one run of each, as tests: \`npm run crash-matrix:test\`.

${matrixTables(result)}

Points that do not exist, or not everywhere:

${absentRows(result).join('\n')}
`
}
