/** `npm run chaos:mutants [-- --only X1,X2 --runs 3 --seed N --at-once 2 --json --faults]` */
import { parseArgs } from 'node:util'
import { faultMutants } from './fault-mutants.ts'
import { errorText } from './history.ts'
import { mutants } from './mutants.ts'
import { type Caught, hunt } from './plant.ts'

function table(results: readonly Caught[]): string {
  const rows = results.map(({ mutant, by, runs, seconds }) => {
    const note = mutant.instead === undefined ? '' : `\n${' '.repeat(6)}instead: ${mutant.instead}`
    return `  ${mutant.name.padEnd(4)} ${by.length > 0 ? by.join(', ') : 'NOT CAUGHT'} (${runs} runs, ${seconds} s): ${mutant.says}${note}`
  })
  return `${rows.join('\n')}\n\n${results.filter(({ by }) => by.length > 0).length} of ${results.length} caught\n`
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      runs: { type: 'string', default: '3' },
      seed: { type: 'string', default: '100' },
      'at-once': { type: 'string', default: '2' },
      json: { type: 'boolean', default: false },
      faults: { type: 'boolean', default: false },
    },
  })
  const only = values.only?.split(',')
  const all = values.faults ? faultMutants : mutants
  const waiting = all.filter(({ name }) => only === undefined || only.includes(name))
  const order = waiting.map(({ name }) => name)
  const results: Caught[] = []
  const lane = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const caught = await hunt(mutant, {
        most: Number(values.runs),
        seed: Number(values.seed),
      }).catch((error: unknown): Caught => {
        process.stderr.write(`  ${mutant.name}: ${errorText(error)}\n`)
        return { mutant, by: [], runs: 0, seconds: 0 }
      })
      results.push(caught)
      process.stderr.write(
        `  ${mutant.name}: ${caught.by.join(', ') || 'not caught'} (${caught.runs} runs, ${caught.seconds} s)\n`,
      )
    }
  }
  await Promise.all(Array.from({ length: Number(values['at-once']) }, lane))
  results.sort((a, b) => order.indexOf(a.mutant.name) - order.indexOf(b.mutant.name))
  const plain = results.map(({ mutant: { name, says, instead }, ...rest }) => ({
    name,
    says,
    instead,
    ...rest,
  }))
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ date: new Date().toISOString().slice(0, 10), mutants: plain }, null, 2)}\n`
      : table(results),
  )
  return results.every(({ by }) => by.length > 0) ? 0 : 1
}

process.exit(await main())
