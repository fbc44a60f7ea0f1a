/** `npm run crash-features [-- --rounds N --at-once N --road SQLite --point G1,O3 --json]` */
import { parseArgs } from 'node:util'
import { runMatrix } from './matrix.ts'
import { crashPoints } from './points.ts'
import { roads } from './plan.ts'
import { matrixTables } from './table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: '3' },
    point: { type: 'string' },
    road: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const enough = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => enough.abort())
const result = await runMatrix({
  points: crashPoints.filter(
    ({ name }) => values.point === undefined || values.point.split(',').includes(name),
  ),
  roads: roads.filter(({ name }) => values.road === undefined || name.startsWith(values.road)),
  rounds: Number(values.rounds),
  atOnce: Number(values['at-once']),
  say: (text) => void process.stderr.write(`  ${text}\n`),
  enough: enough.signal,
})
process.stdout.write(
  values.json ? `${JSON.stringify(result, null, 2)}\n` : `${matrixTables(result)}\n`,
)
const { runs, red } = result
process.stderr.write(`  ${runs} runs, ${red} red, ${result.seconds} s\n`)
process.exitCode = enough.signal.aborted || red > 0 || runs === 0 ? 1 : 0
