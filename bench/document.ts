/** `node bench/document.ts`: writes docs/performance.md from bench/reference/*.json. With `--adopt`, bench/results/*.json becomes the reference first. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Goal, goals, type Tables, verdict } from './goals.ts'
import type { Outcome } from './outcome.ts'
import { markdown } from './report.ts'
import { sections } from './sections.ts'

const reference = fileURLToPath(new URL('reference/', import.meta.url))
const results = fileURLToPath(new URL('results/', import.meta.url))
export const page: string = fileURLToPath(new URL('../docs/performance.md', import.meta.url))

const introductions: Readonly<Record<string, string>> = {
  write: 'What an outbox costs the writer: the same business transaction, with and without messages, closed loop.',
  claim: 'What one claim costs the server, whatever else the tables hold; medians of EXPLAIN ANALYZE.',
  drain: 'A backlog of rows, and a transport that confirms at once: only claiming and settling count.',
  relay:
    'A backlog of rows, published with confirms to a queue without a consumer. *Bare publishing* has no database: it is what the same client can do, with 1000 messages unconfirmed.',
  latency: 'From the moment at which the producer knows of the commit to the callback of the consumer, at a steady rate.',
  sustained: 'Producers in a closed loop, relay, broker, database and consumer all on the same machine.',
  churn: 'What very many messages leave behind in the table, and what they cost the write-ahead log.',
  receive:
    'The consumer: one transaction per message, ten at a time. Mersal writes an inbox row besides the business row, and so handles redeliveries once.',
  scale: 'More relays, more rows, more or fewer keys.',
  sqlite: 'The whole way in one process, with files in place of servers.',
}

/** In the order of a whole run. */
export function readOutcomes(folder = reference): Outcome[] {
  const names = existsSync(folder) ? readdirSync(folder) : []
  return Object.keys(sections)
    .filter((name) => names.includes(`${name}.json`))
    .map((name) => JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as Outcome)
}

export function document(outcomes: readonly Outcome[]): string {
  const tables: Tables = new Map(outcomes.flatMap(({ tables }) => tables).map((table) => [table.id, table]))
  return [
    '# Performance',
    '',
    'Written by `node bench/document.ts` from `bench/reference/`; do not edit.',
    '',
    ...about(outcomes),
    '## Goals',
    '',
    'A goal is a quotient inside the rounds of one run wherever that is possible, since the same run moves with the machine.',
    '',
    '| section | goal | wanted | measured | |',
    '|---|---|---:|---:|---|',
    ...goals.map((goal) => goalRow(goal, tables)),
    '',
    ...outcomes.flatMap(chapter),
    ...reading,
  ].join('\n')
}

function goalRow(goal: Goal, tables: Tables): string {
  const { section, text, value, least, most } = goal
  const measured = value(tables)
  const number = (each: number): string => (each >= 100 ? Math.round(each).toLocaleString('en-US') : String(Number(each.toFixed(2))))
  const wanted = least === undefined ? `≤ ${number(most ?? Number.NaN)}` : `≥ ${number(least)}`
  const shown = measured === undefined || Number.isNaN(measured) ? '–' : number(measured)
  return `| ${section} | ${text} | ${wanted} | ${shown} | ${verdict(goal, measured)} |`
}

function about(outcomes: readonly Outcome[]): string[] {
  const [first] = outcomes
  if (first === undefined) return ['There is no reference run yet. `npm run bench -- --document` makes one and writes this page.', '']
  const versions = Object.entries(Object.assign({}, ...outcomes.map(({ versions }) => versions)) as Record<string, string>)
  return [
    `Measured on ${first.at.slice(0, 10)}: ${first.machine}. ${versions.map(([name, version]) => `${name} ${version}`).join(', ')}.`,
    'Servers are in the headings; they run on the same machine, over loopback, with nothing tuned but memory and `max_wal_size`.',
    '',
    `To repeat it: \`${commandOf(first)}\`. Every run counts what arrives, and ends with 1 if something is lost, doubled or out of order.`,
    '',
  ]
}

function commandOf({ runs, size }: Outcome): string {
  const options = [...(size === 'full' ? [] : [`--${size}`]), ...(runs === 3 ? [] : [`--runs ${runs}`])]
  return ['npm run bench', ...(options.length === 0 ? [] : ['--', ...options])].join(' ')
}

function chapter({ section, tables }: Outcome): string[] {
  return [`## ${section}`, '', introductions[section] ?? '', '', ...tables.map(markdown)]
}

const reading = [
  '## How to read this',
  '',
  '- Candidates take turns, A B C A B C, and a figure is the median of its rounds; *ratio* is the median of the quotients to the first candidate, each inside one round.',
  '- CPU seconds are those of process trees in `/proc`, per 100,000 messages or transactions. On a shared machine they are steadier than rates.',
  '- Relays run in processes of their own, as plain JavaScript; their peak memory is what the kernel reports (`VmHWM`).',
  '- The hand-written relays do the least that moves rows: no retries, no order across relays, no dead letters. They are floors, not rivals.',
  '- The other libraries are job queues, used as relays: their worker publishes to RabbitMQ and completes the job. They are set up after their documentation for high throughput, and get smaller backlogs where they are slower. They promise no order per key, and none is asked of them.',
  '- One machine, loopback, and a disk with a cheap fsync: where commits or round trips cost more, designs with fewer of them gain.',
  '',
]

function adopt(): void {
  mkdirSync(reference, { recursive: true })
  for (const name of readdirSync(results)) if (name.endsWith('.json')) copyFileSync(`${results}${name}`, `${reference}${name}`)
}

export function writePage({ adoptResults }: { readonly adoptResults: boolean }): void {
  if (adoptResults) adopt()
  writeFileSync(page, document(readOutcomes()))
}

if (import.meta.main) writePage({ adoptResults: process.argv.includes('--adopt') })
