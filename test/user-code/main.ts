/**
 * Random programs on each database library: `npm run user-code [-- --programs 500 --seed 1 --only
 * pg,Knex --json]`. With a guard taken away: `npm run user-code:mutants [-- --programs 600 --batch
 * 60 --only G1,G2 --on pg --json]`. Exit code 1: a program found something wrong, or a guard was
 * taken away and none did.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { guards } from './guards.ts'
import { type Caught, hunt, runOn } from './hunt.ts'
import { placeOf, places } from './places.ts'

const root = join(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: {
    mutants: { type: 'boolean', default: false },
    programs: { type: 'string', default: '500' },
    batch: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    on: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const only = values.only?.split(',')
const programs = Number(values.programs)
const seed = Number(values.seed)
const date = new Date().toISOString().slice(0, 10)
const wanted = ({ name }: { readonly name: string }): boolean => only?.includes(name) !== false
const progress = (text: string): void => void process.stderr.write(`${text}\n`)
const print = (results: object, table: readonly string[]): void =>
  void process.stdout.write(
    values.json
      ? `${JSON.stringify({ date, seed, ...results }, null, 2)}\n`
      : `${table.join('\n')}\n`,
  )

async function allPlaces(): Promise<boolean> {
  const results = []
  for (const place of places.filter(wanted)) {
    const report = await runOn(place, root, { programs, seed })
    if (report === undefined) throw new Error(`the programs on ${place.name} never ended`)
    const result = {
      place: place.name,
      programs: report.programs,
      committed: report.committed,
      violations: report.wrong.length,
    }
    results.push(result)
    progress(lineOf(result))
    for (const { number, wrong } of report.wrong) progress(`  ${number}: ${wrong.join('; ')}`)
  }
  print({ places: results }, results.map(lineOf))
  return results.every(({ violations }) => violations === 0)
}

const lineOf = (result: {
  readonly place: string
  readonly programs: number
  readonly committed: number
  readonly violations: number
}): string =>
  `${result.place.padEnd(20)} ${result.programs} programs, ${result.committed} committed, ${result.violations} violations`

async function allGuards(): Promise<boolean> {
  const results: (Caught & { readonly says: string })[] = []
  const amount = { most: programs, batch: Number(values.batch), seed }
  for (const guard of guards.filter(wanted)) {
    for (const caught of await hunt(guard, placeOf, amount, values.on?.split(','))) {
      results.push({ ...caught, says: guard.says })
      progress(caughtLine(caught))
    }
  }
  print({ guards: results }, results.map(caughtLine))
  return results.every(({ program }) => program !== undefined)
}

const caughtLine = ({ guard, place, program, violation, programs: run }: Caught): string =>
  `${guard.padEnd(4)} ${place.padEnd(18)} ${program === undefined ? `NOT CAUGHT in ${run} programs` : `program ${program}: ${violation}`}`

process.exit((await (values.mutants ? allGuards() : allPlaces())) ? 0 : 1)
