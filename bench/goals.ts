import { rivals } from './peers/names.ts'
import { median, type Result, type Sample } from './measure.ts'
import { ownFaults, type Table } from './report.ts'

/** The tables of a run by their ids. */
export type Tables = ReadonlyMap<string, Table>

/** What we want of a figure; all of them compare candidates inside the rounds of one run. */
export interface Goal {
  readonly section: string
  readonly text: string
  /** From which the figure is; undefined where the run has no such table or candidate. */
  readonly value: (tables: Tables) => number | undefined
  readonly least?: number
  readonly most?: number
}

const rate = (sample: Sample): number => sample.rate
const figure =
  (name: string) =>
  (sample: Sample): number =>
    sample.figures?.[name] ?? Number.NaN

function samplesOf(tables: Tables, id: string, candidate: string): readonly Sample[] | undefined {
  const results = tables.get(id)?.data as readonly Result[] | undefined
  return results?.find(({ name }) => name === candidate)?.samples
}

/** Median of the quotients, each inside one round. */
function quotient(id: string, [above, below]: readonly [string, string], of = rate): Goal['value'] {
  return (tables) => {
    const [first, second] = [samplesOf(tables, id, above), samplesOf(tables, id, below)]
    if (first === undefined || second === undefined) return undefined
    return median(first.map((sample, round) => of(sample) / of(second[round] ?? sample)))
  }
}

/** The quotient to whichever of the other libraries comes closest. */
function toBestPeer(id: string, candidate: string): Goal['value'] {
  return (tables) => {
    const values = rivals
      .map((peer) => quotient(id, [candidate, peer])(tables))
      .filter((value) => value !== undefined)
    return values.length === 0 ? undefined : Math.min(...values)
  }
}

function medianOf(id: string, candidate: string, of: (sample: Sample) => number): Goal['value'] {
  return (tables) => {
    const samples = samplesOf(tables, id, candidate)
    return samples === undefined ? undefined : median(samples.map(of))
  }
}

const keyed = 'Mersal, 1,000 keys'
const express = 'Mersal, express lane'
const separate = 'Mersal, separate relay'
const oneFlight = 'Mersal, express lane, one flight'
const bare = 'bare publishing'
const hope = 'commit, then publish and hope'
const plainTable = 'plain table, rows deleted'
const relayAndDatabase = ({ cpu }: Sample): number =>
  (cpu['relay'] ?? Number.NaN) + (cpu['postgres'] ?? Number.NaN)

/**
 * How often the figure of the last name is contained in that of the first, each inside one run of
 * the candidate.
 */
function within(
  id: string,
  candidate: string,
  [above, below]: readonly [string, string],
): Goal['value'] {
  return medianOf(id, candidate, (sample) => figure(above)(sample) / figure(below)(sample))
}

/** CPU seconds of the parts together. */
const cpuOf =
  (...parts: readonly string[]) =>
  ({ cpu }: Sample): number =>
    parts.reduce((sum, part) => sum + (cpu[part] ?? Number.NaN), 0)

/**
 * What publishing from memory and settling cost: the whole way beyond “commit, then publish and
 * hope”, without what writing the message costs the transaction. From two sections, so not inside
 * one round.
 */
function expressCpu(tables: Tables): number | undefined {
  const way = (candidate: string): number | undefined =>
    medianOf('sustained', candidate, cpuOf('producer + consumer', 'postgres'))(tables)
  const writing = (candidate: string): number | undefined =>
    medianOf('write 8', candidate, cpuOf('node', 'postgres'))(tables)
  const [whole, unsafe] = [way(oneFlight), way(hope)]
  const [written, alone] = [
    writing('+ 1 keyed message, Mersal, one flight'),
    writing('business row alone'),
  ]
  if (whole === undefined || unsafe === undefined || written === undefined || alone === undefined)
    return undefined
  return whole - unsafe - (written - alone)
}

function faults(tables: Tables): number | undefined {
  return tables.size === 0
    ? undefined
    : [...tables.values()].reduce((sum, table) => sum + ownFaults(table), 0)
}

const writing = (
  connections: 1 | 8 | 32,
  candidate: string,
  least: number,
  text = candidate.slice(2),
): Goal => ({
  section: 'write',
  text: `${text}, ${connections} ${connections === 1 ? 'connection' : 'connections'}: of the bare business transactions/s`,
  value: quotient(`write ${connections}`, [candidate, 'business row alone']),
  least,
})

const onTime = (
  perSecond: 200 | 1000,
  [name, other]: readonly [string, string],
  [p50, p99]: readonly [number, number],
): readonly Goal[] =>
  (
    [
      ['p50', p50],
      ['p99', p99],
    ] as const
  ).map(([percentile, most]) => ({
    section: 'latency',
    text: `${name.replace('Mersal, ', '')} at ${perSecond.toLocaleString('en-US')}/s: ${percentile} of that of ${other}`,
    value: quotient(`latency ${perSecond}`, [name, other], figure(`${percentile} ms`)),
    most,
  }))

const bundled = (type: 'classic' | 'quorum', least: number): Goal => ({
  section: 'relay',
  text: `${type} queue, bundles of ten: of one by one`,
  value: quotient(`relay ${type}`, ['Mersal, bundles of ten', keyed]),
  least,
})

const onSqlite = (messages: 1 | 10, least: number): Goal => ({
  section: 'sqlite',
  text: `sent, relayed and handled on SQLite, ${messages} per transaction: of hand-written`,
  value: quotient(`sqlite ${messages}`, [keyed, 'hand-written']),
  least,
})

const received = (candidate: string, text: string): Goal => ({
  section: 'receive',
  text: `one by one from RabbitMQ${text}: of a hand-written consumer with an inbox row`,
  value: quotient('receive rabbitmq', [candidate, 'consumer with an inbox row and a business row']),
  least: 0.95,
})

export const goals: readonly Goal[] = [
  writing(8, '+ 1 message, Mersal', 0.85),
  writing(1, '+ 1 message, Mersal', 0.95),
  writing(32, '+ 1 message, Mersal', 0.8),
  writing(8, '+ 1 keyed message, Mersal', 0.78),
  writing(8, '+ 1 message, Mersal, one flight', 1),
  writing(8, '+ 10 messages, Mersal', 0.6),
  {
    section: 'write',
    text: '10 messages in a transaction: of a loop of inserts',
    value: quotient('write 8', ['+ 10 messages, Mersal', '+ 10 messages, plain inserts']),
    least: 1.8,
  },
  {
    section: 'write',
    text: '1 message in a transaction, with NOTIFY and a relay that listens: of the same without',
    value: quotient('write 8', [
      '+ 1 message, Mersal, a relay listens',
      '+ 1 message, Mersal, without NOTIFY',
    ]),
    least: 0.97,
  },
  {
    section: 'drain',
    text: 'draining in the order of 1,000 keys: of the best peer, which keeps none',
    value: toBestPeer('drain', keyed),
    least: 2,
  },
  {
    section: 'drain',
    text: 'draining without keys: of the best peer',
    value: toBestPeer('drain', 'Mersal, no keys'),
    least: 1.5,
  },
  {
    section: 'relay',
    text: 'classic queue: of bare publishing',
    value: quotient('relay classic', [keyed, bare]),
    least: 0.9,
  },
  {
    section: 'relay',
    text: 'quorum queue: of a hand-written relay without claims',
    value: quotient('relay quorum', [keyed, 'hand-written, one reader']),
    least: 0.85,
  },
  bundled('classic', 4),
  bundled('quorum', 2.5),
  {
    section: 'relay',
    text: 'CPU seconds of relay and PostgreSQL per 100,000 messages',
    value: medianOf('relay classic', keyed, relayAndDatabase),
    most: 2,
  },
  {
    section: 'relay',
    text: 'peak memory of the relay, MB',
    value: medianOf('relay classic', keyed, figure('peak MB')),
    most: 150,
  },
  ...onTime(200, [express, bare], [1.25, 1.5]),
  ...onTime(200, [separate, 'graphile-worker'], [0.8, 0.8]),
  ...onTime(1000, [separate, 'graphile-worker'], [0.8, 0.8]),
  {
    section: 'sustained',
    text: 'express lane, in one flight: CPU seconds of process and PostgreSQL per 100,000 messages, beyond writing and bare publishing',
    value: expressCpu,
    most: 3.5,
  },
  {
    section: 'sustained',
    text: 'delivered/s: of “commit, then publish and hope”',
    value: quotient('sustained', [express, hope]),
    least: 0.75,
  },
  {
    section: 'sustained',
    text: 'delivered/s, in one flight: of “commit, then publish and hope”',
    value: quotient('sustained', [oneFlight, hope]),
    least: 0.95,
  },
  {
    section: 'sustained',
    text: 'delivered/s, in one flight: of the best peer',
    value: toBestPeer('sustained', oneFlight),
    least: 4,
  },
  received('Mersal', ''),
  received('Mersal, twice as many fetched as handled', ', twice as many fetched as handled'),
  {
    section: 'churn',
    text: 'table and indexes at their largest: of a plain table whose rows are deleted',
    value: quotient('churn', ['Mersal', plainTable], figure('most MB')),
    most: 1 / 3,
  },
  {
    section: 'churn',
    text: 'looking for rows when there are none, after: of the new table',
    value: within('churn', 'Mersal', ['empty poll ms after', 'empty poll ms before']),
    most: 2,
  },
  {
    section: 'scale',
    text: '4 relays: of one',
    value: quotient('scale relays', ['4 relays', '1 relay']),
    least: 0.95,
  },
  {
    section: 'scale',
    text: 'a backlog of 1,000,000 rows: of the rate of 1,000',
    value: quotient('scale backlog', ['large', 'small']),
    least: 0.95,
  },
  {
    section: 'scale',
    text: 'all messages with one key, messages/s',
    value: medianOf('scale keys', 'one key', rate),
    least: 10_000,
  },
  onSqlite(1, 0.85),
  onSqlite(10, 1.3),
  {
    section: 'all',
    text: 'findings of something lost, doubled or out of order, but for those of other libraries',
    value: faults,
    most: 0,
  },
]

export type Verdict = 'reached' | 'missed' | 'not measured'

export function verdict(
  { least = -Infinity, most = Infinity }: Goal,
  value: number | undefined,
): Verdict {
  if (value === undefined || Number.isNaN(value)) return 'not measured'
  return value >= least && value <= most ? 'reached' : 'missed'
}
