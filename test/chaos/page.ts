/** Makes docs/reliability.md from the results in docs/reliability: `node test/chaos/page.ts`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nemeses } from './nemeses/all.ts'
import type { Result } from './report.ts'

const root = join(import.meta.dirname, '../..')
export const pagePath = join(root, 'docs/reliability.md')

/** Which checkers look after which promise. */
const promises: readonly { readonly name: string; readonly checks: readonly string[] }[] = [
  { name: 'P1 Atomic', checks: ['torn', 'phantom', 'rolledBackLeak', 'early'] },
  { name: 'P2 No loss', checks: ['lost', 'unconfirmed', 'stuck'] },
  { name: 'P4 Effectively once', checks: ['dupEffect'] },
  { name: 'P5 Order per key', checks: ['reorderTap', 'reorderEffect'] },
  { name: 'P6 Bounded duplicates', checks: ['dupBound'] },
  { name: 'P7 Fenced', checks: ['claimLeak'] },
  { name: 'P9 Bounded', checks: ['rss', 'growth'] },
  { name: 'P10 Self-healing', checks: ['recovery', 'died'] },
  { name: 'P11 Graceful stop', checks: ['stop'] },
  { name: 'P12 Fidelity', checks: ['fidelity'] },
  { name: 'P13 Honest results', checks: ['honesty'] },
  { name: 'P14 No secret leaves', checks: ['secretCanary'] },
]

/** What no run of this kind has ever tried. */
const never: readonly string[] = [
  'Loss of power: a killed server keeps what the operating system has in its memory. What is not flushed is lost only for `synchronous_commit = off`.',
  'Failover to a standby, and brokers of more than one node.',
  'A full disk, a disk that stands still, and a machine without memory or file descriptors.',
  'Two versions of Mersal, or of its tables, at one time.',
  'Loss of single packets. A connection is reset, silent, slow or cut into pieces, but TCP hides the rest.',
  'A wall clock that jumps while a process runs. It is wrong from the start to the end of a process.',
  'The exchange of the events removed by an operator.',
  'The order of handling on RabbitMQ, which is not promised, and PostgreSQL as the queue, which has tests of its own.',
  'P3 and P8 have tests of their own, and days of running have not been tried.',
]

interface Mutants {
  readonly date: string
  readonly mutants: readonly {
    readonly name: string
    readonly says: string
    readonly instead?: string
    readonly by: readonly string[]
    readonly runs: number
  }[]
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
const whole = (value: number): string => value.toLocaleString('en-US')
const stores = { postgres: 'PostgreSQL and RabbitMQ', sqlite: 'SQLite and its queue' } as const
type Store = keyof typeof stores

function promiseRows(results: readonly Result[]): string[][] {
  return promises.map(({ name, checks }) => {
    const looked = results.map(({ findings }) =>
      findings.filter((finding) => checks.includes(finding.check) && finding.skipped === undefined),
    )
    const used = looked.filter((findings) => findings.length > 0)
    const violations = sum(used.flat().map(({ count }) => count))
    return [`${name}: ${checks.join(', ')}`, String(used.length), used.length === 0 ? 'not looked at' : String(violations)]
  })
}

function faultRows(results: readonly Result[], store: Store): string[][] {
  const landed = (name: string): number => sum(results.map(({ faults }) => faults[name]?.landed ?? 0))
  return nemeses.filter(({ on }) => on.includes(store)).map(({ name, says }) => [`\`${name}\`: ${says}`, String(landed(name))])
}

function runRows(results: readonly Result[]): string[][] {
  return results.map(({ seed, date, verdict, seconds, counts, duplicates, recovery, memory, faults, findings }) => [
    `seed ${seed}, ${date}`,
    verdict,
    `${seconds} s`,
    whole(sum(Object.values(faults).map(({ landed }) => landed))),
    whole(counts.committed),
    whole(counts.published),
    `${duplicates.surplus} / ${sum(Object.values(duplicates.causes))}`,
    whole(counts.redeliveries),
    whole(counts.unknown + counts.commitsUnknown),
    `${recovery.medianMs} / ${recovery.mostMs} ms`,
    `${memory.mostMiB} MiB`,
    String(sum(findings.map(({ count }) => count))),
  ])
}

const runHead =
  'run,verdict,time,faults,committed,published,copies too many / with a cause,redeliveries,unknown,recovery median / longest,memory,violations'.split(
    ',',
  )

function section(results: readonly Result[], store: Store): string {
  const versions = [...new Set(results.flatMap((result) => Object.entries(result.versions).map(([name, version]) => `${name} ${version}`)))]
  return `## ${stores[store]}

${versions.join(', ')}. Repeat a run with the command of its seed, such as \`${results[0]?.command}\`; the moments of a real machine differ each time.

${table(runHead, runRows(results))}

${table(['promise, and the checkers that look', 'runs', 'violations'], promiseRows(results))}

${table(['fault', 'landed'], faultRows(results, store))}
`
}

function mutantSection({ date, mutants }: Mutants): string {
  const rows = mutants.map(({ name, says, instead, by, runs }) => [
    `${name}: ${says}${instead === undefined ? '' : ` (${instead})`}`,
    by.length === 0 ? '**nobody**' : by.join(', '),
    String(runs),
  ])
  const caught = mutants.filter(({ by }) => by.length > 0).length
  return `## Would they notice?

Each line is a bug that was put into a copy of the source (${date}, \`npm run chaos:mutants\`): ${caught} of ${mutants.length} were noticed.

${table(['bug', 'noticed by', 'runs until then'], rows)}
`
}

/** The page as it should be. */
export function page(): string {
  const folder = join(root, 'docs/reliability')
  const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
  const results = files.filter((name) => name !== 'mutants.json').map((name) => read(name) as Result)
  const parts = (['postgres', 'sqlite'] as const).flatMap((store) => {
    const own = results.filter((result) => result.store === store)
    return own.length === 0 ? [] : [section(own, store)]
  })
  return `<!-- Made by test/chaos/page.ts from docs/reliability/*.json. Do not edit. -->

# Reliability: what was tried, and what came out

\`npm run chaos\` starts servers of its own and six processes: two that write, two relays, two that handle with an inbox. It injects faults in a random
order, heals everything, waits until nothing is left, and compares three things that do not know of each other: what the database has committed
(on PostgreSQL as its own log tells, decoded by \`test_decoding\`), what a plain client finds in a queue beside, and the history that every process writes before and
after every action. The promises are those of [guarantees](guarantees.md). A run in which a planned fault did not land is *invalid*, and counts for nothing.

${parts.join('\n')}
${files.includes('mutants.json') ? mutantSection(read('mutants.json') as Mutants) : ''}
## What was not tried

${never.map((text) => `- ${text}`).join('\n')}
`
}

if (import.meta.main) writeFileSync(pagePath, page())
