/**
 * `node bench/document.ts`: writes docs/performance.md from bench/reference/*.json, which `npm run
 * bench -- --document` makes.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Goal, goals, type Tables, verdict } from './goals.ts'
import type { Outcome } from './outcome.ts'
import { markdown } from './report.ts'
import { introductions, sections } from './sections.ts'

const reference = fileURLToPath(new URL('reference/', import.meta.url))
const results = fileURLToPath(new URL('results/', import.meta.url))
export const page: string = fileURLToPath(new URL('../docs/performance.md', import.meta.url))

/** In the order of a whole run. */
export function readOutcomes(folder = reference): Outcome[] {
  const names = existsSync(folder) ? readdirSync(folder) : []
  return Object.keys(sections)
    .filter((name) => names.includes(`${name}.json`))
    .map((name) => JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as Outcome)
}

export function document(outcomes: readonly Outcome[]): string {
  const tables: Tables = new Map(
    outcomes.flatMap(({ tables }) => tables).map((table) => [table.id, table]),
  )
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
  const number = (each: number): string =>
    each >= 100 ? Math.round(each).toLocaleString('en-US') : String(Number(each.toFixed(2)))
  const wanted = least === undefined ? `≤ ${number(most ?? Number.NaN)}` : `≥ ${number(least)}`
  const shown = measured === undefined || Number.isNaN(measured) ? '–' : number(measured)
  return `| ${section} | ${text} | ${wanted} | ${shown} | ${verdict(goal, measured)} |`
}

function about(outcomes: readonly Outcome[]): string[] {
  const [first] = outcomes
  if (first === undefined)
    return [
      'There is no reference run yet. `npm run bench -- --document` makes one and writes this page.',
      '',
    ]
  return [
    `Measured with ${versionsOf(outcomes)}; each section says when, with which of several versions, and on which machine.`,
    'Servers are in the headings; they run on the same machine, over loopback, with nothing tuned but memory and `max_wal_size`.',
    '',
    `To repeat it: \`${commandOf(first)}\`. Every run counts what arrives, and ends with 1 if something is lost, doubled or out of order.`,
    '',
  ]
}

/** Sections are measured apart, so that there may be several versions of one package. */
function versionsOf(outcomes: readonly Outcome[]): string {
  const all = new Map<string, Set<string>>()
  for (const [name, version] of outcomes.flatMap(({ versions }) => Object.entries(versions)))
    all.set(name, (all.get(name) ?? new Set()).add(version))
  return [...all].map(([name, some]) => `${name} ${[...some].sort().join(' and ')}`).join(', ')
}

function commandOf({ runs, size }: Outcome): string {
  const options = [
    ...(size === 'full' ? [] : [`--${size}`]),
    ...(runs === 3 ? [] : [`--runs ${runs}`]),
  ]
  return ['npm run bench', ...(options.length === 0 ? [] : ['--', ...options])].join(' ')
}

function chapter({ section, tables, at, machine, versions, runs }: Outcome): string[] {
  const introduction = (introductions as Readonly<Record<string, string>>)[section] ?? ''
  const when = `${at.slice(0, 10)} ${at.slice(11, 16)} UTC`
  return [
    `## ${section}`,
    '',
    introduction,
    `Measured on ${when} with mersal ${versions['mersal']}, ${runs} rounds: ${machine}.`,
    '',
    ...tables.map(markdown),
  ]
}

const reading = [
  '## How to read this',
  '',
  '- Candidates take turns, A B C A B C, and a figure is the median of its rounds; *ratio* is the median of the quotients to the first candidate, each inside one round.',
  '- CPU seconds are those of process trees in `/proc`, per 100,000 messages or transactions. On a shared machine they are steadier than rates.',
  '- Sections are measured hours or days apart, and the virtual machines of different days are not equally fast: by up to 2.6 times so far. So compare inside a section, not across them.',
  '- Relays run in processes of their own, as plain JavaScript; their peak memory is what the kernel reports (`VmHWM`). All of them, of every make, run with `--max-semi-space-size=8`, as [relay.md](relay.md) advises where memory is short; without it ours came to 230 MB at the same rate.',
  '- The hand-written relays do the least that moves rows: no retries, no order across relays, no dead letters. They are floors, not rivals.',
  '- pg-boss and graphile-worker are job queues, used as relays: their worker publishes to RabbitMQ and completes the job. pg-transactional-outbox is an outbox, with its polling listener. They are set up after their documentation for high throughput, and get smaller backlogs where they are slower. They promise no order per key here, and none is asked of them.',
  '- BullMQ and @node-ts/bus-core are marked as unsafe: they know nothing of the transaction, so a crash between the commit and the message loses it, which no run without crashes shows. They deliver to consumers of their own, BullMQ through a Redis with its log of changes on.',
  '- One machine, loopback, and a disk with a cheap fsync: where commits or round trips cost more, designs with fewer of them gain.',
  '',
]

/** Writes the page, after the results of these sections have become part of the reference. */
export function writePage(adopted: readonly string[] = []): void {
  mkdirSync(reference, { recursive: true })
  for (const name of adopted) copyFileSync(`${results}${name}.json`, `${reference}${name}.json`)
  writeFileSync(page, document(readOutcomes()))
}

if (import.meta.main) writePage()
