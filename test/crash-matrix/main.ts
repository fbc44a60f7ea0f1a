/**
 * `npm run crash-matrix [-- --rounds N --at-once N --listed --share 0/3 --point P1,R4 --kind
 * straight
 * --json]`
 */
import { parseArgs } from 'node:util'
import { runMatrix, violations } from './matrix.ts'
import { openPlace } from './place.ts'
import { cells, isListed } from './points.ts'
import { matrixTables } from './table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: '3' },
    /** Of the 37 points of the list those that CI runs, without those that we added. */
    listed: { type: 'boolean', default: false },
    /** `1/3`: of three shares that make up these cells, the one with this number, from 0. */
    share: { type: 'string', default: '0/1' },
    point: { type: 'string' },
    kind: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const [share = 0, shares = 1] = values.share.split('/').map(Number)
const among = values.listed ? cells.filter(isListed) : cells
const chosen = among.filter(
  (cell, index) =>
    index % shares === share &&
    (values.point === undefined || values.point.split(',').includes(cell.point.name)) &&
    (values.kind === undefined || values.kind.split(';').includes(cell.kind.name)),
)
const say = (text: string): void => void process.stderr.write(`  ${text}\n`)
const enough = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => enough.abort())
await using place = await openPlace(chosen.map(({ kind }) => kind))
const result = await runMatrix(place, {
  cells: chosen,
  rounds: Number(values.rounds),
  atOnce: Number(values['at-once']),
  say,
  enough: enough.signal,
})
process.stdout.write(
  values.json ? `${JSON.stringify(result, null, 2)}\n` : `${matrixTables(result)}\n`,
)
const red = result.points
  .flatMap(({ results }) => Object.values(results))
  .filter((each) => violations(each) > 0)
say(`${chosen.length} cells, ${red.length} red, ${result.seconds} s`)
process.exitCode = enough.signal.aborted || red.length > 0 || chosen.length === 0 ? 1 : 0
