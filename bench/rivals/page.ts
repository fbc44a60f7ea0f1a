/**
 * `node bench/rivals/page.ts`: makes docs/comparison.md of the results in bench/reference. A test
 * fails while the page says something else.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Candidate, candidates } from './plan.ts'
import { type Outcome, type Scenario, scenarios } from './scenarios.ts'

export interface Result {
  readonly at: string
  readonly machine: string
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly {
    readonly candidate: Candidate
    readonly scenario: Scenario
    readonly outcome: Outcome
  }[]
}

interface Measured {
  readonly at: string
  readonly machine: string
  readonly tables: readonly {
    readonly title: string
    readonly head: readonly string[]
    readonly rows: readonly (readonly string[])[]
  }[]
}

const reference = join(import.meta.dirname, '../reference')
export const pagePath: string = join(import.meta.dirname, '../../docs/comparison.md')

const read = (name: string): unknown => JSON.parse(readFileSync(join(reference, name), 'utf8'))
const day = (at: string): string => at.slice(0, 10)
const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** The chosen columns of a table of the benchmark. */
function chosen({ tables }: Measured, title: string, columns: readonly string[]): string {
  const found = tables.find((each) => each.title.startsWith(title))
  if (found === undefined) throw new Error(`the benchmark has no table '${title}'`)
  const places = columns.map((column) => found.head.indexOf(column))
  return table(
    columns,
    found.rows.map((row) => places.map((place) => row[place] ?? '')),
  )
}

const packages: Readonly<Record<Candidate, string>> = {
  Mersal: 'mersal',
  'pg-boss': 'pg-boss',
  'graphile-worker': 'graphile-worker',
  'pg-transactional-outbox': 'pg-transactional-outbox',
  BullMQ: 'bullmq',
  '@node-ts/bus-core': '@node-ts/bus-core',
}

/** Set in bold: what was lost, invented, repeated, stuck or out of order. */
function troubles({ rows, versions }: Result): string {
  const names = candidates.map((name) => `${name} ${versions[packages[name]] ?? ''}`)
  const cell = (name: Candidate, scenario: Scenario): string => {
    const row = rows.find((each) => each.candidate === name && each.scenario === scenario)
    if (row === undefined) return 'not run'
    return row.outcome.kept ? row.outcome.text : `**${row.outcome.text}**`
  }
  return table(
    ['trouble', ...names],
    (Object.keys(scenarios) as Scenario[]).map((scenario) => [
      scenarios[scenario],
      ...candidates.map((name) => cell(name, scenario)),
    ]),
  )
}

/** What nobody can find out by running: read from sources and documentation. */
const properties = table(
  [
    '',
    'Mersal',
    '@nestjs/outbox 0.1.3',
    '@node-ts/bus 2.0 (master)',
    'pg-boss',
    'graphile-worker',
    'pg-transactional-outbox',
    'BullMQ',
  ],
  [
    [
      'what it is',
      'service bus with outbox and inbox',
      'outbox and inbox for NestJS',
      'service bus with outbox and inbox',
      'job queue',
      'job queue',
      'outbox and inbox',
      'job queue',
    ],
    [
      'joins a transaction that you own',
      'yes',
      'yes',
      'no, the bus owns it',
      'yes',
      'yes',
      'yes',
      'no',
    ],
    ['reads the write-ahead log', 'yes, beside the table', 'no', 'no', 'no', 'no', 'yes', 'no'],
    ['workflows', 'sagas', 'no', 'yes', 'no', 'no', 'no', 'flows of jobs'],
    ['works without a framework', 'yes', 'no', 'yes', 'yes', 'yes', 'yes', 'yes'],
    [
      'databases',
      'SQLite, PostgreSQL, MariaDB',
      'PostgreSQL, MySQL',
      'PostgreSQL, MongoDB',
      'PostgreSQL',
      'PostgreSQL',
      'PostgreSQL',
      'Redis',
    ],
  ],
)

export function page(): string {
  const result = read('rivals.json') as Result
  const latency = read('latency.json') as Measured
  const drain = read('drain.json') as Measured
  return `# How it compares

<!-- Made by bench/rivals/page.ts; do not edit. -->

For those who choose: what other outboxes and job queues do in the same troubles, how fast they are
under the same load, and when one of them is the better choice.

## The same troubles

Each library was run as its documentation says, once for each cell, in processes that were killed or
cut off at the same points. **Bold** is what was lost, invented, stuck or out of order. Run on ${day(result.at)} with
PostgreSQL 15, RabbitMQ 3.10 and Redis 7.0, on this machine:
${result.machine}.
It was busy with other work, so read "after 9 s" as "by itself".

${troubles(result)}

How each was used:

- **Mersal**: store on PostgreSQL, RabbitMQ, \`receive.orderPerKey\`, otherwise defaults.
- **pg-boss**: \`send\` with \`db\` in the transaction, a queue with the policy \`key_strict_fifo\`, and
  \`work\`.
- **graphile-worker**: \`add_job\` in the transaction, with a queue for each key.
- **pg-transactional-outbox**: outbox and inbox by polling, with a segment for each key. A handler
  of the outbox writes into the inbox of the same database, so there is no broker.
- **BullMQ** and **@node-ts/bus-core** 1.x know nothing of the database. For "the commit fails" they
  send before the commit, otherwise after it. Neither order is right: that is what an outbox is for.

Not compared yet: what a killed handler repeats, and an outage of the broker.

Not run: **@nestjs/outbox**, which the registry does not have (\`npm view\`, 2026-11-30), and
**@node-ts/bus 2.0**, whose newest published version is 1.3.3 (the same day). What is said of them
below was read in their sources and documentation between August and November 2026.

## The same load

From a commit to the consumer, at 200 messages a second, on ${day(latency.at)}, on this machine:
${latency.machine}.

${chosen(latency, 'Commit to consumer at 200', ['candidate', 'p50 ms', 'p90 ms', 'p99 ms'])}

At 1,000 messages a second:

${chosen(latency, 'Commit to consumer at 1000', ['candidate', 'p50 ms', 'p90 ms', 'p99 ms'])}

Taking rows out, with nothing published, on ${day(drain.at)}:

${chosen(drain, 'Drain', ['candidate', 'messages/s', 'range'])}

How it was measured, and more of it: \`bench\` in the repository, \`npm run bench -- latency drain\`.

## What they are

Read, not run.

${properties}

Choose one of them rather than Mersal if you need MongoDB, recurring jobs by a calendar, priorities,
or years of production use: Mersal has none of the first three, and is new.

## Their words, and ours

For those who know one of these. Names were read in the types of pg-boss 12.38 and
@node-ts/bus-core 1.3.3.

| pg-boss | Mersal |
| --- | --- |
| \`boss.send(name, data, { db })\` | [\`app.within(tx).send(Type, body)\`](start-your-library.md); \`app.transaction\` opens the transaction for you |
| \`boss.work(name, handler)\`: a list of jobs | [\`app.handle(Type, handler)\`](send-and-handle.md): one message, in a transaction with its inbox row |
| a queue by name | the queue of an app, called as the app; \`routes\` names the owner of a command |
| \`publish\`, \`subscribe\` | \`publish(Event, body)\`; an app with a handler for it is subscribed |
| \`startAfter\` | [\`delayMs\`, \`at\`](time.md) |
| \`retryLimit\`, \`retryDelay\`, \`retryBackoff\` | [\`receive.maxDeliveries\`, \`receive.backoff\`, \`retry\` of a handler](reference/receiving.md) |
| \`deadLetter\` | built in: [dead letters](dead-letters.md) |
| \`expireInSeconds\` | \`receive.handlerTimeoutMs\` |
| \`singletonKey\` | \`id\` of a send: a consumer handles one id once |
| policy \`key_strict_fifo\` | \`partitionKey\`, and [\`receive.orderPerKey\`](order.md) |
| \`schedule(name, cron)\` | none: let a job by a clock send the message |
| \`priority\` | none: give what is urgent an app of its own |
| no broker | [\`postgresQueue\`](postgres-queue.md) |

| @node-ts/bus | Mersal |
| --- | --- |
| \`Bus.configure()…build()\` | \`new Mersal({ name, store, transport })\` |
| class \`Command\`, class \`Event\` | [\`command(name)\`, \`event(name)\`](send-and-handle.md): a name and a type |
| \`withHandler\` | \`app.handle(Type, handler)\` |
| \`bus.send\`, \`bus.publish\` | the same names, of the sender of a transaction; outside of one they throw |
| \`failMessage()\` | \`reject()\` |
| \`returnMessage()\` | throw, or \`retryLater(ms)\` |
| \`withConcurrency\`, \`withRetryStrategy\` | \`receive.concurrency\`, \`receive.backoff\` |
| \`withPersistence\`, \`Workflow\`, \`completeWorkflow()\` | the store, [\`app.saga\`](sagas.md), \`complete()\` |

Repeat the first table with \`node bench/rivals/main.ts --json bench/reference/rivals.json\`, and make
this page with \`node bench/rivals/page.ts\`.
`
}

if (import.meta.main) writeFileSync(pagePath, page())
