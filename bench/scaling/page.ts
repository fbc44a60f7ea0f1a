import type { Outcome as Run } from '../outcome.ts'
import type { Table } from '../report.ts'
import { type Case, limitsOf, sizes, troubles } from './cases.ts'
import { checks } from './check.ts'
import { type Costs, costsOf, type Measured, tableOf } from './costs.ts'
import { assumptions, capacities, logMegabytes, needs, type Range } from './model.ts'

const RATES = [10_000, 100_000, 1_000_000]
/** Sections whose figures the page uses. */
const SECTIONS = ['write', 'drain', 'relay', 'receive', 'churn', 'scale', 'sustained', 'idle']

const number = (value: number): string => {
  if (!Number.isFinite(value)) return '–'
  if (value >= 10_000) return (Math.round(value / 100) * 100).toLocaleString('en-US')
  return value >= 10 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toFixed(2)))
}
const between = ({ middle, low, high }: Range): string =>
  low === high ? number(middle) : `${number(middle)} (${number(low)}–${number(high)})`
const measuredText = (value: Measured | undefined): string =>
  value === undefined ? 'not measured yet' : between(value)
const percent = (share: number): string =>
  `${share >= 0 ? '+' : '−'}${Math.abs(Math.round(share * 100))} %`

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    line(head),
    line(head.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
    '',
  ]
}

/** docs/scaling.md from the results of the benchmark. Pure: the same results give the same text. */
export function scalingPage(runs: readonly Run[]): string {
  const costs = costsOf(runs)
  return [
    '# Past one machine',
    '',
    'Written by `node bench/scaling/main.ts` from `bench/reference/`; do not edit.',
    '',
    ...introduction(runs),
    ...costChapter(costs),
    ...checkChapter(runs),
    ...firstChapter(costs),
    ...needChapter(costs),
    ...simulationChapter(costs),
    ...tenantChapter(runs),
    ...settingsChapter,
  ].join('\n')
}

function introduction(runs: readonly Run[]): string[] {
  const present = SECTIONS.filter((name) => runs.some(({ section }) => section === name))
  const missing = SECTIONS.filter((name) => !present.includes(name))
  const short = runs
    .filter(({ section, size }) => present.includes(section) && size !== 'full')
    .map(({ section }) => section)
  const [first] = runs
  return [
    '**What is measured and what is not.** The CPU seconds and bytes per message come from the benchmark: one machine, two cores, servers and clients side by side, loopback in',
    'place of a network, disks that nobody else used. Everything about more cores, more machines or more databases is *computed* from them, under assumptions that are named',
    'below and have two ends; the ranges in the tables are those two ends together with the least and the most of the rounds. Nobody has run 100,000 messages/s here. Take the tables for the order of',
    'magnitude and for what to look at first; then measure with your own servers (`npm run bench`).',
    '',
    first === undefined
      ? 'There is no reference run yet.'
      : `Measured on ${first.machine}. Sections used: ${present.join(', ') || 'none'}.${missing.length === 0 ? '' : ` Not in the reference yet, so that some tables have gaps: ${missing.join(', ')}.`}${short.length === 0 ? '' : ` In a short form only: ${short.join(', ')}.`}`,
    '',
  ]
}

function costChapter(costs: Costs): string[] {
  const { business, outbox, relay, inbox, queue, walBytes } = costs
  const row = (
    name: string,
    app: Measured | undefined,
    database: Measured | undefined,
    broker?: Measured | 'none',
  ): string[] => [
    name,
    measuredText(app),
    measuredText(database),
    broker === 'none' ? '' : measuredText(broker),
  ]
  return [
    '## What one message costs',
    '',
    'CPU seconds per 100,000 messages, median and range of the rounds.',
    '',
    ...table(
      ['', 'process of Node', 'PostgreSQL', 'RabbitMQ'],
      [
        row('the business transaction, one row', business?.app, business?.database, 'none'),
        row('a keyed message in it', outbox?.app, outbox?.database, 'none'),
        row(
          'claimed, published with confirms (quorum queue), settled',
          relay?.process,
          relay?.database,
          relay?.broker,
        ),
        row(
          'received and handled, with inbox and business row',
          inbox?.app,
          inbox?.database,
          inbox?.broker,
        ),
      ],
    ),
    `Write-ahead log per message, until it is settled: ${walBytes === undefined ? 'not measured yet' : `${between(walBytes)} bytes`}. One relay process with a quorum queue moved ${measuredText(relay?.rate)} messages/s while client, database and broker shared the two cores; one quorum queue took ${measuredText(queue)} from a client without a database.`,
    '',
    'Handling is counted with a transaction for each message. Short handlers that share transactions (`batch`) need about a third of that: section `batches` of [the measurements](performance.md).',
    '',
  ]
}

function checkChapter(runs: readonly Run[]): string[] {
  const cores = Number(/^(\d+) ×/.exec(runs[0]?.machine ?? '')?.[1] ?? Number.NaN)
  const found = checks(runs, cores)
  const head = ['## Does the model fit?', '']
  if (found.length === 0)
    return [
      ...head,
      'There is nothing to compare yet: `scale`, or the sections that it is predicted from, have not run.',
      '',
    ]
  const worst = Math.max(...found.map(({ error }) => Math.abs(error)))
  return [
    ...head,
    'Predicted from the sections `relay`, `drain` and `write` alone: each relay as fast as one is, until the cores of the machine are used up. Compared with what `scale` and `sustained` measured.',
    '',
    ...table(
      ['run', 'predicted, messages/s', 'measured', 'error'],
      found.map(({ run, predicted, measured, error }) => [
        run,
        number(predicted),
        between(measured),
        percent(error),
      ]),
    ),
    `The largest error is ${Math.round(worst * 100)} %. The model knows no caches and no contention beyond CPU; an error of this size belongs to every figure below, besides its range.`,
    '',
  ]
}

const { busy, manyCores, follower, coresOfDatabase, walMegabytes, messageBytes } = assumptions

function firstChapter(costs: Costs): string[] {
  const found = capacities(costs)
  return [
    '## What is full first',
    '',
    'Messages/s that one of each takes. A process of Node has one thread that counts, so that more processes are the way; a database has cores, but in the end one log.',
    '',
    ...table(
      ['', 'messages/s'],
      found.map(({ part, rate }) => [part, between(rate)]),
    ),
    ...(found.length === 0
      ? []
      : [
          `The first of these to be full is *${found[0]?.part}*: add more of it, and the next line is the limit.`,
          '',
        ]),
    'Assumed, and not measured:',
    '',
    `- A core is planned to be busy for ${busy.middle * 100} % of the time (range: ${busy.low * 100} % to ${busy.high * 100} %).`,
    `- A core of a database with ${coresOfDatabase} of them does ${manyCores.middle * 100} % of what one of two does (${manyCores.low * 100} % to ${manyCores.high * 100} %), since they wait for each other's locks and for the log.`,
    `- One database is given ${walMegabytes} MB/s of log, with its replicas.`,
    `- Each of the two followers of a quorum queue costs ${follower.middle * 100} % of the CPU of its leader (${follower.low * 100} % to ${follower.high * 100} %): the benchmark has a single node.`,
    `- Bodies of ${messageBytes} bytes, one message per transaction, and keys that are spread evenly. Several messages in one transaction cost less each (section \`write\` of [performance.md](performance.md)).`,
    '',
  ]
}

function needChapter(costs: Costs): string[] {
  const columns = RATES.map((rate) => needs(costs, rate))
  const parts = columns[0]?.map(({ part }) => part) ?? []
  const cell = (column: number, part: string): string => {
    const need = columns[column]?.find((each) => each.part === part)
    return need === undefined ? '–' : between(need.count)
  }
  const log = RATES.map((rate) => logMegabytes(costs, rate))
  return [
    '## What 10,000, 100,000 and 1,000,000 messages/s take',
    '',
    'Business rows, outbox and inbox in the same database; quorum queues. Middle, and in brackets the two ends of all assumptions together.',
    '',
    ...table(
      ['how many', ...RATES.map((rate) => `${rate.toLocaleString('en-US')}/s`)],
      [
        ...parts.map((part) => [part, ...RATES.map((_, column) => cell(column, part))]),
        [
          'log of all databases, MB/s',
          ...log.map((value) => (value === undefined ? '–' : number(value))),
        ],
        [
          'bodies through the network, once, MB/s',
          ...RATES.map((rate) => number((rate * messageBytes) / 1e6)),
        ],
      ],
    ),
    'Databases: the larger of the lines counts, CPU or log. Where more than one is needed, split by tenant or by the key of the business, so that a transaction never spans two. Where more than one queue is needed for',
    'one destination, make it several by hash of the key: a quorum queue has one leader. A key is never faster than its queue and its run of unconfirmed messages, whatever is added.',
    '',
  ]
}

function simulationChapter(costs: Costs): string[] {
  const limits = limitsOf(capacities(costs), busy.middle)
  const head = ['## Many relays, databases and tenants: a simulation', '']
  if (limits === undefined)
    return [
      ...head,
      'It needs the costs of the sections `write` and `relay`, which are not in the reference yet.',
      '',
    ]
  return [
    ...head,
    `In virtual time, with a seed, and with the code by which relays share their window (\`src/outbox/limits/capacity.ts\`). One relay moves ${number(limits.relayCapacity)} messages/s and one database ${number(limits.databaseCapacity)} at the most; each database`,
    'is served by two relays; 60 s. The load is 70 % of what relays or databases can do, whichever is less. *Some busier*: the n-th database has 1/√n of the load of the first; *a few much busier*: 1/n.',
    '',
    ...table(
      ['', 'messages/s', 'left', 'relays busy', 'p50 ms', 'p99 ms', 'longest ms', 'most in hand'],
      sizes(limits).map(sizeRow),
    ),
    'Even loads scale with the number of relays and databases. Uneven ones do not: the databases at the top are full, or the two relays that serve them are, while the average is far from it. So a busy tenant gets',
    'a database and relays of its own (`mersal relay --store NAME`), and capacity is planned by the busiest, not by the average.',
    '',
    '### What trouble costs',
    '',
    'Ten databases, ten relays, at 60 % of the load above, some databases busier. *Held up*: messages in the hands of a dead relay, which wait until its claims end. *Again*: published, but not recorded as such.',
    '',
    ...table(
      [
        'after 20 s',
        'p99 ms',
        'longest ms',
        'longest ms elsewhere',
        'held up',
        'they wait, ms',
        'again',
        'over after s',
      ],
      troubles(limits).map(troubleRow),
    ),
    '- **A relay dies**: what it holds waits for the end of its claim, at most `claimMs` + `pollIntervalMs` (16 s). That is at most its `window`, whatever the load. Later messages of the same keys wait with them; everything else goes through the other relay of each database.',
    '  Shorter claims shorten this wait, and leave less time to a slow broker: a claim must be longer than the longest publish.',
    '- **A rebalance does not exist** in this protocol: there is nothing to hand over. A relay that stops gives its rows back within its grace period, a new one claims what it finds. Restart them one after the other.',
    '- **A database fails over**: its tenants cannot write either, so that nothing piles up; what they had committed waits for it. What was published and not yet settled is published once more, at most the window of each relay. The other tenants notice nothing.',
    '  A failover to an asynchronous standby can lose commits that the relay has published already: see [postgres.md](postgres.md#losing-power).',
    '- **The broker is away**: the backlog is rate × time, and is gone after time × load / (1 − load). Plan the capacity of relays by how long that may take, not by the load alone.',
    '',
  ]
}

function sizeRow({ name, scene, outcome }: Case): string[] {
  const { share, relayBusy, p50, p99, longest, mostHeld } = outcome
  return [
    name,
    number(scene.rate),
    `${number(share * 100)} %`,
    `${number(relayBusy * 100)} %`,
    number(p50),
    number(p99),
    number(longest),
    number(mostHeld),
  ]
}

function troubleRow({ name, outcome }: Case): string[] {
  const { p99, longest, longestElsewhere, orphans, orphansWaited, again, recovered } = outcome
  const over =
    recovered === undefined
      ? ''
      : Number.isFinite(recovered)
        ? number(recovered)
        : 'not in this run'
  return [
    name,
    number(p99),
    number(longest),
    number(longestElsewhere),
    number(orphans),
    orphans === 0 ? '' : number(orphansWaited),
    number(again),
    over,
  ]
}

function tenantChapter(runs: readonly Run[]): string[] {
  const idle: Table | undefined = tableOf(runs, 'idle')
  return [
    '## Many tenants with little to do',
    '',
    'One `mersal relay` serves many databases (`stores`, see [cli.md](cli.md#several-stores)). What an idle one costs:',
    '',
    ...(idle === undefined
      ? ['Not measured yet (`npm run bench -- idle`).', '']
      : [...table(idle.head, idle.rows), ...(idle.notes ?? []).flatMap((note) => [note, ''])]),
    'A database that listens needs a connection for that, and hears of a message at once. One that is only polled needs a connection for the moment of each look, which the budget takes from one that is not in use: if there are',
    'more databases than connections, each look opens one, which costs the server more than the look. So give busy tenants a place to listen, and poll the rest less often:',
    '',
    '- `connectionBudget({ most, listeners })`: half of `most` listen unless you say otherwise, those that come first; `postgres({ listen: false })` takes a store out of that.',
    '- `stores: { small: { store, relay: { pollIntervalMs: 10_000 } } }`: a message of this tenant waits for up to 10 s if nothing rings.',
    '',
  ]
}

const settingsChapter = [
  '## Settings',
  '',
  '| setting | default | larger | smaller |',
  '|---|---:|---|---|',
  '| `batchSize` | 500 | fewer claims per message: less CPU of the database under a backlog | less memory, smaller bursts; less is lost to a dead relay |',
  '| `window` | 1000; 20 for each store of several | more unconfirmed: needed if round trip × rate is more than the window (1000 at 20 ms are 50,000/s) | less is held up by a dead relay, and published again after a failover |',
  '| `claimMs` | 15,000 | slow brokers, large batches | a dead relay is noticed sooner |',
  '| `pollIntervalMs` | 1000 | idle databases cost less | messages that nothing rings for (SQL functions, no `LISTEN`) leave sooner |',
  '| `connectionBudget({ most })` | 4 for each store without one | more databases at work at the same moment | fewer connections; at least 4 |',
  '| relays per database | – | two, for failover; more only if one is full | one, if its restart may be noticed |',
  '',
  'Relays of one database compete for the same rows (what four do on one machine is in the section `scale` of [performance.md](performance.md)). Split the stores over processes with `--store` before you multiply relays on each.',
  '',
]
