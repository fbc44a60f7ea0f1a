/** `npm run bench -- --help` */
import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { compare } from './base/compare.ts'
import { borrowedServers } from './base/lent-servers.ts'
import type { Effort, Size } from './effort.ts'
import { writePage } from './document.ts'
import { machine, versions } from './machine.ts'
import type { Outcome } from './outcome.ts'
import { installPeers } from './peers/load.ts'
import { markdown, ownFaults } from './report.ts'
import { writeScalingPage } from './scaling/main.ts'
import { apart, occasional, sections } from './sections.ts'
import { benchServers } from './servers.ts'

const help = `npm run bench [-- section ...] [options]: measures, with servers that it starts itself.

Sections: ${Object.keys(sections).join(', ')}. Default: all but ${[...occasional, ...apart].join(', ')}.
  --runs 3          rounds; the figures are their medians
  --seconds 2       of the sections that work for a time
  --short           smaller backlogs and shorter runs: about a third of the time
  --tiny            only whether everything works, with one set of servers and nothing to warm up
  --only 'a, b'     the candidates with one of these texts in their names, and the first one of each table
  --connections 8   of the write section: instead of 1, 8 and 32
  --without-peers   leaves out the other libraries, which else are installed in bench/peers
  --base REV        the named sections beside those of another revision, in turns on the same servers:
                    small, without peers, two minutes for each section or as many rounds as --runs says
  --json            one line of JSON per section instead of tables
  --document        makes the results the reference (bench/reference), and writes docs/performance.md and docs/scaling.md from it

Each section writes bench/results/<section>.json (not with --tiny). A run that loses, doubles or reorders something ends with 1.
`

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name}: expected a number above 0, got '${text}'`)
  return value
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    base: { type: 'string' },
    seconds: { type: 'string' },
    short: { type: 'boolean', default: false },
    tiny: { type: 'boolean', default: false },
    only: { type: 'string' },
    connections: { type: 'string' },
    'without-peers': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    document: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** A part of a section is no reference: nothing is kept of it. */
const narrow = values.only !== undefined || values.connections !== undefined

function narrowed(): Pick<Effort, 'only' | 'connections'> {
  const { only, connections } = values
  return {
    ...(only === undefined ? {} : { only: only.split(',').map((text) => text.trim()) }),
    ...(connections === undefined ? {} : { connections: positive('connections', connections) }),
  }
}

/** What each side of a comparison is started with. */
function givenOn(size: Size): string[] {
  const { seconds, only, connections } = values
  const named = Object.entries({ seconds, only, connections })
  return [
    ...(size === 'tiny' ? ['--tiny'] : ['--short']),
    ...named.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value])),
  ]
}

/** Sections beside those of another revision. Returns the exit code. */
async function beside(revision: string, size: Size): Promise<number> {
  if (positionals.length === 0) throw new Error('--base: name the sections')
  const rounds = values.runs === undefined ? undefined : positive('runs', values.runs)
  let faulty = false
  for (const section of positionals) {
    await using servers = benchServers()
    const given = givenOn(size)
    const tables = await compare({ section, revision, rounds, given, servers })
    const text = values.json ? JSON.stringify(tables) : tables.map(markdown).join('\n')
    process.stdout.write(`${text}\n`)
    faulty ||= tables.some(({ faults }) => faults.length > 0)
  }
  return faulty ? 1 : 0
}

/** Returns the exit code. */
async function main(): Promise<number> {
  const size: Size = values.tiny ? 'tiny' : values.short ? 'short' : 'full'
  const seconds = positive(
    'seconds',
    values.seconds ?? { full: '2', short: '1', tiny: '0.2' }[size],
  )
  const runs = positive('runs', values.runs ?? '3')
  const peers = !values['without-peers']
  const usual = Object.keys(sections).filter(
    (name) => !apart.includes(name) && (size === 'tiny' || !occasional.includes(name)),
  )
  const wanted = positionals.length === 0 ? usual : positionals
  const unknown = wanted.find((name) => sections[name] === undefined)
  if (unknown !== undefined)
    throw new Error(
      `there is no section '${unknown}'; there are ${Object.keys(sections).join(', ')}`,
    )
  if (values.base !== undefined) return await beside(values.base, size)
  if (peers) await installPeers()
  const say = (text: string): void => void (values.json || process.stdout.write(`${text}\n`))
  say(
    `${machine()}; ${runs} rounds\n${peers ? '' : 'Without the other libraries (--without-peers).\n'}`,
  )
  mkdirSync(new URL('results/', import.meta.url), { recursive: true })
  const borrowed = borrowedServers()
  await using shared = borrowed ?? benchServers()
  let [faulty, worthless] = [false, false]
  for (const name of wanted) {
    // Servers of its own for each section, so that none finds what the one before has left.
    await using own = size === 'tiny' || borrowed ? undefined : benchServers()
    const effort: Effort = { runs, seconds, size, peers, servers: own ?? shared, ...narrowed() }
    const started = performance.now()
    const tables = (await sections[name]?.(effort)) ?? []
    const tookSeconds = Math.round((performance.now() - started) / 1000)
    const outcome: Outcome = {
      section: name,
      machine: machine(),
      versions: versions(peers),
      runs,
      seconds,
      size,
      at: new Date().toISOString(),
      tookSeconds,
      tables,
    }
    if (size !== 'tiny' && !narrow)
      writeFileSync(
        new URL(`results/${name}.json`, import.meta.url),
        `${JSON.stringify(outcome, undefined, 1)}\n`,
      )
    say(`${tables.map(markdown).join('\n')}(${name}: ${tookSeconds} s)\n`)
    if (values.json) process.stdout.write(`${JSON.stringify(outcome)}\n`)
    faulty ||= tables.some(({ faults }) => faults.length > 0)
    worthless ||= tables.some((table) => ownFaults(table) > 0)
  }
  if (values.document && !worthless && !narrow) {
    writePage(wanted)
    writeScalingPage()
  }
  return faulty ? 1 : 0
}

if (values.help) process.stdout.write(help)
else process.exitCode = await main()
