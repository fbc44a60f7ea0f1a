/**
 * `npm run bench [-- section ...] [--runs 3] [--seconds 2] [--json]`: measures, with servers that it
 * starts itself, and writes `bench/results/<section>.json`. A run that lost or doubled something ends with 1.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { claim } from './claim/section.ts'
import { markdown, type Table } from './report.ts'
import { write } from './write/section.ts'

interface Effort {
  readonly runs: number
  readonly seconds: number
}

const sections: Readonly<Record<string, (effort: Effort) => Promise<Table[]>>> = { write, claim }

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name}: expected a number above 0, got '${text}'`)
  return value
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '3' }, seconds: { type: 'string', default: '2' }, json: { type: 'boolean', default: false } },
})
const effort = { runs: positive('runs', values.runs), seconds: positive('seconds', values.seconds) }
const wanted = positionals.length === 0 ? Object.keys(sections) : positionals
const machine = `${availableParallelism()} × ${cpus()[0]?.model.trim()}, Node ${process.version}`
if (!values.json) process.stdout.write(`${machine}; ${effort.runs} rounds\n\n`)
let faulty = false
mkdirSync(new URL('results/', import.meta.url), { recursive: true })
for (const name of wanted) {
  const section = sections[name]
  if (section === undefined) throw new Error(`there is no section '${name}'; there are ${Object.keys(sections).join(', ')}`)
  const tables = await section(effort)
  const result = { section: name, machine, ...effort, at: new Date().toISOString(), tables }
  writeFileSync(new URL(`results/${name}.json`, import.meta.url), `${JSON.stringify(result, undefined, 2)}\n`)
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${tables.map(markdown).join('\n')}\n`)
  faulty ||= tables.some(({ faults }) => faults.length > 0)
}
process.exitCode = faulty ? 1 : 0
