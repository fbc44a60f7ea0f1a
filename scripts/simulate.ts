/**
 * Random schedules of the shipped relay with a simulated clock, broker and processes that crash:
 *
 *   npm run simulate [-- --seeds 20000 --from 1 --processes 2 --update]
 *   npm run simulate -- --seed 1742 [--trace]   one schedule, with the hash of its trace
 *   npm run simulate -- --mutants [--update]    deliberate bugs, and after how many seeds each is seen
 *
 * Ends with 1 if a promise was broken, or a bug was not seen. `--update` writes
 * docs/reliability/simulation.json.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createRelay } from '../src/outbox/relay.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { simulateMany } from '../test/simulation/crowd.ts'
import { hunt, mutants, withMutant } from '../test/simulation/mutants.ts'
import { simulate } from '../test/simulation/simulate.ts'
import { hashOf, type Tally } from '../test/simulation/tally.ts'

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const report = fileURLToPath(new URL('../docs/reliability/simulation.json', import.meta.url))

/** Puts one part of the report in place of what it was. */
function update(part: object): void {
  mkdirSync(dirname(report), { recursive: true })
  const before = existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as object) : {}
  writeFileSync(report, `${JSON.stringify({ ...before, ...part }, null, 2)}\n`)
}

function whole(name: string, text: string, least: number): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= least) return number
  throw new Error(`--${name}: expected a whole number of at least ${least}`)
}

async function replay(seed: number, showTrace: boolean): Promise<boolean> {
  const subject = { createRelay, memoryStore }
  const first = await simulate(seed, subject)
  const again = await simulate(seed, subject)
  if (showTrace) for (const line of first.trace) say(line)
  say(
    `seed ${seed}: trace ${hashOf(first)}, ${first.trace.length} lines; run again: ${hashOf(again)}; ${JSON.stringify(first.counts)}`,
  )
  for (const violation of first.violations) say(`  ${violation}`)
  return first.violations.length === 0 && hashOf(first) === hashOf(again)
}

function summary(tally: Tally, seconds: number, processes: number): string {
  const number = (value: number): string => value.toLocaleString('en')
  const { seeds, faultFree, messages, publishes, crashes, pauses, dead, twice, violations } = tally
  return (
    `simulation: ${number(seeds)} seeds in ${seconds.toFixed(1)} s (${Math.round(seeds / seconds)} seeds/s in ${processes} processes), ` +
    `${number(faultFree)} without faults; ${number(messages)} messages, ${number(publishes)} publishes, ${number(crashes)} crashes, ` +
    `${number(pauses)} pauses, ${number(dead)} dead letters; ${number(twice)} run twice; ${number(violations.length)} violations`
  )
}

interface Many {
  readonly from: number
  readonly count: number
  readonly processes: number
  readonly updates: boolean
}

async function many({ from, count, processes, updates }: Many): Promise<boolean> {
  const begun = performance.now()
  let told = begun
  let shown = 0
  const progress = (tally: Tally): void => {
    for (; shown < tally.violations.length; shown++)
      process.stderr.write(`${tally.violations[shown] ?? ''}\n`)
    if (performance.now() - told < 10_000) return
    told = performance.now()
    process.stderr.write(
      `${tally.seeds} of ${count} seeds, ${tally.violations.length} violations\n`,
    )
  }
  const tally = await simulateMany({ from, count, processes, progress })
  const seconds = (performance.now() - begun) / 1000
  for (const violation of tally.violations) say(violation)
  say(summary(tally, seconds, processes))
  if (updates) {
    const figures = {
      ...tally,
      violations: tally.violations.length,
      from,
      processes,
      seconds: Math.round(seconds),
      node: process.version,
    }
    update({ schedules: { ...figures, seedsPerSecond: Math.round(tally.seeds / seconds) } })
  }
  return tally.violations.length === 0 && tally.seeds === count
}

async function allMutants(updates: boolean): Promise<boolean> {
  const rows: { mutant: string; seeds: number | null; seen: string }[] = []
  say(`${'seeds'.padStart(6)}  ${'seen as'.padEnd(12)} deliberate bug`)
  for (const mutant of mutants) {
    const found = await withMutant(mutant, hunt)
    const seen = found?.violations[0]?.split(':')[0] ?? 'not seen'
    rows.push({ mutant: mutant.name, seeds: found?.seed ?? null, seen })
    say(`${String(found?.seed ?? '-').padStart(6)}  ${seen.padEnd(12)} ${mutant.name}`)
  }
  if (updates) update({ mutants: rows })
  return rows.every(({ seeds }) => seeds !== null)
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '20000' },
      from: { type: 'string', default: '1' },
      processes: { type: 'string', default: String(availableParallelism()) },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      mutants: { type: 'boolean', default: false },
      update: { type: 'boolean', default: false },
    },
  })
  if (values.seed !== undefined) return replay(whole('seed', values.seed, 0), values.trace)
  if (values.mutants) return allMutants(values.update)
  const [from, count] = [whole('from', values.from, 0), whole('seeds', values.seeds, 1)]
  return many({
    from,
    count,
    processes: whole('processes', values.processes, 1),
    updates: values.update,
  })
}

process.exitCode = (await main()) ? 0 : 1
