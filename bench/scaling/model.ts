import { type Costs, type Measured, plus } from './costs.ts'

/**
 * What the figures of one small machine are stretched by. Each is a guess with two ends, and the
 * page says so.
 */
export const assumptions = {
  /** Of a core, before waiting times grow: planned, and at the most. */
  busy: { low: 0.85, middle: 0.7, high: 0.5 },
  /** What a core of a database with many of them does, of what one of two does. */
  manyCores: { low: 0.9, middle: 0.7, high: 0.5 },
  /** Each of the two followers of a quorum queue, of the CPU of its leader. */
  follower: { low: 0.3, middle: 0.6, high: 1 },
  coresOfDatabase: 16,
  coresOfBroker: 8,
  /** Of write-ahead log that one database is given, in MB/s. */
  walMegabytes: 150,
  messageBytes: 256,
} as const

/** A figure with its range: `low` if everything goes well. */
export type Range = Measured

const ends = ['low', 'middle', 'high'] as const

function range(of: (end: (typeof ends)[number]) => number): Range {
  return { low: of('low'), middle: of('middle'), high: of('high') }
}

/** Messages per second that one of each can take; `low` is the pessimistic end. */
export interface Capacity {
  readonly part: string
  readonly rate: Range
}

/** CPU seconds per message of the database, if business rows, outbox and inbox all live in it. */
function databaseCost({ business, outbox, relay, inbox }: Costs): Measured | undefined {
  if (business === undefined || outbox === undefined || relay === undefined) return undefined
  return plus(
    business.database,
    outbox.database,
    relay.database,
    ...(inbox === undefined ? [] : [inbox.database]),
  )
}

/**
 * What one core-second brings, from CPU seconds per 100,000 messages; pessimistic where the cost
 * was high.
 */
function perCore(cost: Measured): Range {
  const { busy } = assumptions
  return range((end) => {
    const opposite = end === 'low' ? 'high' : end === 'high' ? 'low' : 'middle'
    return (busy[opposite] * 100_000) / cost[opposite]
  })
}

const times = (rate: Range, factor: Range | number): Range =>
  range((end) => rate[end] * (typeof factor === 'number' ? factor : factor[end]))

export function capacities(costs: Costs): Capacity[] {
  const { coresOfDatabase, manyCores, walMegabytes } = assumptions
  const found: Capacity[] = []
  const add = (part: string, rate: Range | undefined): void =>
    void (rate && found.push({ part, rate }))
  const cores = range(
    (end) =>
      coresOfDatabase * manyCores[end === 'low' ? 'high' : end === 'high' ? 'low' : 'middle'],
  )
  const database = databaseCost(costs)
  add(
    'one process that writes',
    costs.business && costs.outbox && perCore(plus(costs.business.app, costs.outbox.app)),
  )
  add(`one database of ${coresOfDatabase} cores, CPU`, database && times(perCore(database), cores))
  add(
    `one database, ${walMegabytes} MB/s of log`,
    costs.walBytes && range(() => (walMegabytes * 1e6) / (costs.walBytes?.middle ?? Number.NaN)),
  )
  add('one relay process', costs.relay && relayCapacity(costs.relay))
  add('one quorum queue', costs.queue && range((end) => costs.queue?.[end] ?? Number.NaN))
  add('one process that handles', costs.inbox && perCore(costs.inbox.app))
  return found.toSorted((a, b) => a.rate.middle - b.rate.middle)
}

/**
 * At the most what was measured where everything shared two cores, at the least what its CPU leaves
 * room for.
 */
function relayCapacity({ process, rate }: NonNullable<Costs['relay']>): Range {
  const byCpu = perCore(process)
  return { low: Math.min(byCpu.low, rate.low), middle: byCpu.middle, high: byCpu.high }
}

/** What a load takes: how many of each, rounded up. */
export interface Need {
  readonly part: string
  readonly count: Range
  readonly note?: string
}

const upwards = (value: Range): Range => range((end) => Math.ceil(value[end]))
/** How many of something that takes `capacity` each. */
const howMany = (rate: number, capacity: Range): Range =>
  upwards({ low: rate / capacity.high, middle: rate / capacity.middle, high: rate / capacity.low })

export function needs(costs: Costs, rate: number): Need[] {
  const of = new Map(capacities(costs).map(({ part, rate: each }) => [part, howMany(rate, each)]))
  const found = [...of].map(([part, count]): Need => ({ part, count }))
  const broker = brokerCores(costs, rate)
  if (broker !== undefined) {
    const { coresOfBroker } = assumptions
    // A quorum queue wants three nodes whatever the load.
    const nodes = range((end) => Math.max(3, Math.ceil(broker[end] / coresOfBroker)))
    found.push({ part: `broker nodes of ${coresOfBroker} cores, 3 copies`, count: nodes })
  }
  return found
}

/** Publishing and delivering, on leader and followers. */
function brokerCores({ relay, inbox }: Costs, rate: number): Range | undefined {
  if (relay === undefined) return undefined
  const cost = inbox === undefined ? relay.broker : plus(relay.broker, inbox.broker)
  const { busy, follower } = assumptions
  return range((end) => (((rate * cost[end]) / 100_000) * (1 + 2 * follower[end])) / busy[end])
}

/** MB/s of log over all databases. */
export function logMegabytes({ walBytes }: Costs, rate: number): number | undefined {
  return walBytes === undefined ? undefined : (rate * walBytes.middle) / 1e6
}
