/**
 * Makes docs/reliability.md, and the table in docs/evidence.md, from the results in
 * docs/reliability: `node test/chaos/page.ts`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MatrixResult as FeaturesResult } from '../crash-features/matrix.ts'
import type { PlantedResult } from '../crash-features/planted.ts'
import { featuresSection } from '../crash-features/table.ts'
import type { MatrixResult } from '../crash-matrix/matrix.ts'
import { matrixSection } from '../crash-matrix/table.ts'
import { type GuardsResult, type ProgramsResult, programsSection } from '../user-code/table.ts'
import { nemeses } from './nemeses/all.ts'
import {
  featureResults,
  logResults,
  promises,
  read,
  results,
  root,
  type Store,
  stores,
  sum,
  table,
  whole,
} from './page-parts.ts'
import { evidence, evidencePath } from './evidence-table.ts'
import type { Result } from './report.ts'

export const pagePath = join(root, 'docs/reliability.md')

/** What `npm run crash-matrix -- --json` has printed. */
const matrices = [
  { file: 'crash-matrix.json', title: 'Killed at every point' },
  { file: 'crash-matrix-mysql.json', title: 'Killed at every point, with the outbox in MariaDB' },
  { file: 'crash-matrix-nats.json', title: 'Killed at every point, with NATS as the broker' },
  { file: 'crash-matrix-redis.json', title: 'Killed at every point, with Redis as the broker' },
  { file: 'crash-matrix-kafka.json', title: 'Killed at every point, with Kafka as the broker' },
  {
    file: 'crash-matrix-log.json',
    title: 'Killed at every point, with a relay that reads the log of PostgreSQL',
  },
] as const

const matrixPart = (file: string, title: string): string =>
  existsSync(join(root, 'docs/reliability', file))
    ? `${matrixSection(read(file) as MatrixResult, title)}\n`
    : ''

/** What no run of this kind has ever tried. */
const never: readonly string[] = [
  'Loss of power: a killed server keeps what the operating system has in its memory. What is not flushed is lost only for `synchronous_commit = off`.',
  'Failover to an asynchronous standby, more than one failover to a synchronous one (a scenario of its own, once in every run of the tests), and brokers of more than one node.',
  'A disk that stands still, and a machine without memory or file descriptors.',
  'More than two versions of Mersal at one time; the older one is the build that a constant in test/chaos/builds.ts names.',
  'Loss of single packets. A connection is reset, silent, slow or cut into pieces, but TCP hides the rest.',
  'A full disk under MariaDB, and rows there that are larger than what a program may have: its server takes none.',
  'The wall clock of the database server. Only those of the processes of Mersal are wrong, and on SQLite, where they are all one clock, none.',
  'A leak of less than 2 MiB in the last three fifths of the life of a process, which is some hundred bytes for each message of a run of ten minutes.',
  'NATS or Kafka in a cluster: several copies of a stream or topic, and the loss of a leader. The failover of Redis, which has a scenario of its own.',
  'Sagas, `once` and handling in order with other stores and brokers than PostgreSQL with RabbitMQ and SQLite; on NATS and Redis the order has tests with processes that are killed, stopped and frozen; and PostgreSQL as the queue, which has tests of its own.',
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

function promiseRows(results: readonly Result[]): string[][] {
  return promises.map(({ name, checks }) => {
    const looked = results.map(({ findings }) =>
      findings.filter((finding) => checks.includes(finding.check) && finding.skipped === undefined),
    )
    const used = looked.filter((findings) => findings.length > 0)
    const violations = sum(used.flat().map(({ count }) => count))
    return [
      `${name}: ${checks.join(', ')}`,
      String(used.length),
      used.length === 0 ? 'not looked at' : String(violations),
    ]
  })
}

/** `log`: those of the log as well. */
function faultRows(results: readonly Result[], store: Store, log: boolean): string[][] {
  const landed = (name: string): number =>
    sum(results.map(({ faults }) => faults[name]?.landed ?? 0))
  return nemeses
    .filter(({ on, needs }) => on.includes(store) && (log || needs !== 'commit log'))
    .map(({ name, says }) => [`\`${name}\`: ${says}`, String(landed(name))])
}

function runRows(results: readonly Result[]): string[][] {
  return results.map(
    ({ seed, date, verdict, seconds, counts, duplicates, recovery, memory, faults, findings }) => [
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
    ],
  )
}

const runHead =
  'run,verdict,time,faults,committed,published,copies too many / with a cause,redeliveries,unknown,recovery median / longest,memory,violations'.split(
    ',',
  )

function section(results: readonly Result[], store: Store, title?: string): string {
  const versions = [
    ...new Set(
      results.flatMap((result) =>
        Object.entries(result.versions).map(([name, version]) => `${name} ${version}`),
      ),
    ),
  ]
  return `## ${title ?? stores[store]}

${versions.join(', ')}. Repeat a run with the command of its seed, such as \`${results[0]?.command}\`; the moments of a real machine differ each time.

${table(runHead, runRows(results))}

${table(['promise, and the checkers that look', 'runs', 'violations'], promiseRows(results))}

${table(['fault', 'landed'], faultRows(results, store, title !== undefined))}
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

/** Runs with sagas, requests once and handling in order. */
function featureRuns(results: readonly Result[]): string {
  const head = `run,verdict,time,faults,sagas,requests once,handled in order,${featureChecks.join(',')},other violations`
  const rows = results.map(({ store, seed, date, verdict, seconds, counts, faults, findings }) => {
    const found = (check: string): number =>
      sum(findings.filter((each) => each.check === check).map(({ count }) => count))
    const others = findings.filter(({ check }) => !featureChecks.includes(check))
    return [
      `${stores[store]}, seed ${seed}, ${date}`,
      verdict,
      `${seconds} s`,
      whole(sum(Object.values(faults).map(({ landed }) => landed))),
      whole(counts.features?.sagas ?? 0),
      whole(counts.features?.requests ?? 0),
      whole(counts.features?.steps ?? 0),
      ...featureChecks.map((check) => String(found(check))),
      String(sum(others.map(({ count }) => count))),
    ]
  })
  return `## Sagas, requests once, and handling in order, under faults

\`npm run chaos -- --features\`: a producer places orders and pays for them, each request with \`once\`, repeats some, and repeats the last ones after each of its deaths; two processes of one
app have a saga with timeouts that end, replace or outlive it, and handle what comes in order (\`orderPerKey\`). Relays, a consumer and the other checkers are as above.
\`sagaOnce\`: each saga that was started has ended exactly once, or is open with the state that its messages have made. \`sagaTimeouts\`: an open one has its timeout in the outbox, and
none was early. \`onceEffect\`: each key has one effect, the one that its answers tell of. \`orderedEffect\`: the effects of each key are those that were committed, in that order.

${table(head.split(','), rows)}

${results
  .map(
    ({ command, versions }) =>
      `- \`${command}\` (${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')})`,
  )
  .join('\n')}
`
}
const featureChecks: readonly string[] = ['sagaOnce', 'sagaTimeouts', 'onceEffect', 'orderedEffect']

/** Relays that read the log: one of them at a time, while the other one claims. */
function logRuns(results: readonly Result[]): string {
  const title = 'PostgreSQL and RabbitMQ, with relays that read the log'
  return results.length === 0 ? '' : `${section(results, 'postgres', title)}\n`
}

/** The page as it should be. */
export function page(): string {
  const all = results()
  const parts = (Object.keys(stores) as Store[]).flatMap((store) => {
    const own = all.filter((result) => result.store === store)
    return own.length === 0 ? [] : [section(own, store)]
  })
  return `<!-- Made by test/chaos/page.ts from docs/reliability/*.json. Do not edit. -->

# Reliability: what was tried, and what came out

\`npm run chaos\` starts servers of its own and six processes: two that write, two relays, two that handle with an inbox. It injects faults in a random
order, heals everything, waits until nothing is left, and compares three things that do not know of each other: what the database has committed
(on PostgreSQL as its own log tells, decoded by \`test_decoding\`), what a plain client finds in a queue beside, and the history that every process writes before and
after every action. The promises are those of [guarantees](guarantees.md). A run in which a planned fault did not land is *invalid*, and counts for nothing.

${parts.join('\n')}
${logRuns(logResults())}${matrices.map(({ file, title }) => matrixPart(file, title)).join('')}${featuresSection(read('crash-features.json') as FeaturesResult, read('crash-features-planted.json') as PlantedResult)}
${featureRuns(featureResults())}
${mutantSection(read('mutants.json') as Mutants)}
${programsSection(read('programs.json') as ProgramsResult, read('guards.json') as GuardsResult)}
## What was not tried

${never.map((text) => `- ${text}`).join('\n')}
`
}

if (import.meta.main) {
  writeFileSync(pagePath, page())
  writeFileSync(evidencePath, evidence(readFileSync(evidencePath, 'utf8'), results()))
}
