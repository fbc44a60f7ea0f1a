import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Result } from './input.ts'
import { type Delays, runFamily } from './family.ts'
import { type Adapter, adapters } from './places.ts'
import { leaks } from './soundness.ts'
import { tableOf } from './table.ts'

/**
 * node test/inputs/main.ts [ADAPTER …] [--json FILE] [--without GENERATOR]
 *
 * Every bad input on these adapters (default: all), in this process. Prints a table and what
 * failed; the exit code is 0 if nothing did.
 */
const { values, positionals } = parseArgs({
  options: { json: { type: 'string' }, without: { type: 'string' } },
  allowPositionals: true,
})
const wanted = (positionals.length > 0 ? positionals : adapters) as readonly Adapter[]

// A rejection that nobody handles ends the process with 1, as everywhere; this only says so.
process.on('exit', (code) => {
  if (code !== 0) process.stderr.write(`ended with ${code}\n`)
})

const longest: Delays = {}
const results: Result[] = []
for (const adapter of wanted) {
  const begun = performance.now()
  results.push(...(await runFamily(adapter, longest, values.without)))
  process.stderr.write(`${adapter}: ${Math.round(performance.now() - begun)} ms\n`)
}
const leaked = leaks()
const failed = results.filter(({ verdict }) => verdict === 'failed')
process.stdout.write(tableOf(results))
process.stdout.write(`longest time in which nothing else ran, ms: ${JSON.stringify(longest)}\n`)
for (const { generator, adapter, input, why } of failed)
  process.stdout.write(`FAILED ${generator} on ${adapter}: ${input}: ${JSON.stringify(why)}\n`)
for (const text of leaked) process.stdout.write(`LEAKED ${JSON.stringify(text)}\n`)
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ results, longest, leaked })}\n`)
process.exitCode = failed.length + leaked.length > 0 ? 1 : 0
