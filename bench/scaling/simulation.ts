import { type Capacity, shareCapacity } from '../../src/outbox/limits/capacity.ts'
import { seededRandom } from '../../scripts/seeded-random.ts'

/** Many relays and databases in virtual time. Messages are amounts, not things: a step is 10 ms. */
export interface Scene {
  readonly seed: number
  readonly databases: number
  readonly relays: number
  /** Each database is served by so many of the relays. */
  readonly servedBy: number
  /** Messages per second, over all databases. */
  readonly rate: number
  /** 0: all databases are alike; 1: the second has half of the first, the third a third. */
  readonly skew: number
  readonly seconds: number
  /** Messages per second that one relay process, and one database, can move. */
  readonly relayCapacity: number
  readonly databaseCapacity: number
  readonly window: number
  readonly batchSize: number
  readonly claimMs: number
  readonly pollIntervalMs: number
  readonly events?: readonly Event[]
}

export type Event =
  /**
   * Without a goodbye: what it holds falls due when its claims end. A new one takes its place after
   * so long.
   */
  | {
      readonly kind: 'relay dies'
      readonly at: number
      readonly relay: number
      readonly replacedAfter: number
    }
  /** Neither writers nor relays reach it. */
  | {
      readonly kind: 'database away'
      readonly at: number
      readonly database: number
      readonly for: number
    }
  | { readonly kind: 'broker away'; readonly at: number; readonly for: number }
  /** All relays, one after the other; each gives back what it holds and is away for so long. */
  | { readonly kind: 'rolling restart'; readonly at: number; readonly away: number }

export interface Outcome {
  /** Messages per second that left, of those that came. */
  readonly share: number
  /**
   * Waiting times in ms until the broker has it, over all messages but those that a dead relay
   * held.
   */
  readonly p50: number
  readonly p99: number
  readonly longest: number
  /** Of the busiest database, and of all others together. */
  readonly longestElsewhere: number
  readonly mostHeld: number
  /**
   * Messages that waited for the end of a dead relay's claim, and the longest that one of them
   * waited.
   */
  readonly orphans: number
  readonly orphansWaited: number
  /** Published, and then not settled because the database was away: they go out once more. */
  readonly again: number
  /** Seconds from the end of the trouble until nothing waited longer than before it. */
  readonly recovered: number | undefined
  readonly relayBusy: number
}

const STEP = 0.01
/** A claim, a publish and a settle, of one batch. */
const ROUND_TRIPS = 3
const QUIET_MS = 100

interface Database {
  readonly rate: number
  readonly came: Float64Array
  waiting: number
  left: number
  /** The step of the message that leaves next. */
  oldest: number
  longest: number
  away: number
  /** What it can still do in this step, for all relays. */
  room: number
  readonly orphans: { readonly due: number; readonly since: number; count: number }[]
}

interface Hand {
  readonly room: Capacity
  readonly database: Database
  count: number
  /** The steps at which what is claimed now may be published. */
  ready: number
}

interface Relay {
  readonly hands: Hand[]
  away: number
  busy: number
  turn: number
}

export function simulate(scene: Scene): Outcome {
  const steps = Math.round(scene.seconds / STEP)
  const random = seededRandom(scene.seed)
  const databases = makeDatabases(scene, steps)
  const relays = makeRelays(scene, databases)
  const waits = new Map<number, number>()
  const seen = {
    orphans: 0,
    orphansWaited: 0,
    again: 0,
    mostHeld: 0,
    brokerAway: 0,
    troubleEnds: 0,
    calmSince: 0,
  }

  for (let step = 0; step < steps; step++) {
    for (const event of scene.events ?? []) happen(event, step, { scene, relays, databases, seen })
    for (const database of databases) {
      database.room = scene.databaseCapacity * STEP
      arrive(database, step, random, seen)
    }
    for (const relay of relays)
      if (relay.away <= step)
        work(relay, step, scene, { waits, brokerAway: seen.brokerAway > step, seen })
    const held = relays.reduce(
      (sum, { hands }) => sum + hands.reduce((total, { count }) => total + count, 0),
      0,
    )
    seen.mostHeld = Math.max(seen.mostHeld, held)
    const behind = databases.some(
      (database) => (step - database.oldest) * STEP * 1000 > QUIET_MS && database.waiting > 1,
    )
    if (behind) seen.calmSince = step + 1
  }
  const came = databases.reduce((sum, { came }) => sum + (came[steps - 1] ?? 0), 0)
  const left = databases.reduce((sum, database) => sum + database.left, 0)
  const [busiest, ...others] = databases
  return {
    share: left / came,
    p50: quantileOf(waits, 0.5),
    p99: quantileOf(waits, 0.99),
    longest: Math.max(...databases.map(({ longest }) => longest)),
    longestElsewhere:
      others.length === 0
        ? (busiest?.longest ?? 0)
        : Math.max(...others.map(({ longest }) => longest)),
    mostHeld: Math.round(seen.mostHeld),
    orphans: Math.round(seen.orphans),
    orphansWaited: seen.orphansWaited,
    again: Math.round(seen.again),
    recovered:
      seen.troubleEnds === 0
        ? undefined
        : seen.calmSince >= steps
          ? Infinity
          : Math.max(0, (seen.calmSince - seen.troubleEnds) * STEP),
    relayBusy: relays.reduce((sum, { busy }) => sum + busy, 0) / (steps * STEP * relays.length),
  }
}

function makeDatabases({ databases, rate, skew }: Scene, steps: number): Database[] {
  const weights = Array.from({ length: databases }, (_, n) => 1 / (n + 1) ** skew)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map((weight) => ({
    rate: (rate * weight) / total,
    came: new Float64Array(steps),
    waiting: 0,
    left: 0,
    oldest: 0,
    longest: 0,
    away: 0,
    room: 0,
    orphans: [],
  }))
}

/** Databases are dealt out in turn, so that each relay has busy and quiet ones. */
function makeRelays({ relays, servedBy, window }: Scene, databases: readonly Database[]): Relay[] {
  const mine: Database[][] = Array.from({ length: relays }, () => [])
  let next = 0
  for (const database of databases)
    for (let copy = 0; copy < Math.min(servedBy, relays); copy++)
      mine[next++ % relays]?.push(database)
  return mine.map((served) => {
    const shared = shareCapacity({ window, relays: Math.max(1, served.length) })
    return {
      hands: served.map((database) => ({
        room: shared.join(() => {}),
        database,
        count: 0,
        ready: 0,
      })),
      away: 0,
      busy: 0,
      turn: 0,
    }
  })
}

interface World {
  readonly scene: Scene
  readonly relays: readonly Relay[]
  readonly databases: readonly Database[]
  readonly seen: {
    orphans: number
    orphansWaited: number
    again: number
    brokerAway: number
    troubleEnds: number
  }
}

function happen(event: Event, step: number, { scene, relays, databases, seen }: World): void {
  const at = Math.round(event.at / STEP)
  const until = (seconds: number): number => at + Math.round(seconds / STEP)
  switch (event.kind) {
    case 'relay dies': {
      const relay = relays[event.relay]
      if (step !== at || relay === undefined) return
      relay.away = until(event.replacedAfter)
      seen.troubleEnds = until((scene.claimMs + scene.pollIntervalMs) / 1000)
      for (const hand of relay.hands) {
        // Claimed at any time since the window was last empty: here, a moment ago. Found by the
        // next full scan.
        hand.database.orphans.push({
          due: until((scene.claimMs + scene.pollIntervalMs) / 1000),
          since: step,
          count: hand.count,
        })
        put(hand, 0)
      }
      return
    }
    case 'database away': {
      const database = databases[event.database]
      if (step !== at || database === undefined) return
      database.away = until(event.for)
      seen.troubleEnds = database.away
      for (const hand of relays
        .flatMap(({ hands }) => hands)
        .filter((one) => one.database === database)) {
        seen.again += hand.count
        database.waiting += hand.count

        put(hand, 0)
      }
      return
    }
    case 'broker away':
      if (step === at) seen.brokerAway = seen.troubleEnds = until(event.for)
      return
    case 'rolling restart': {
      const index = (step - at) / Math.round(event.away / STEP)
      const relay = Number.isInteger(index) ? relays[index] : undefined
      if (relay === undefined) return
      relay.away = step + Math.round(event.away / STEP)
      seen.troubleEnds = relay.away
      for (const hand of relay.hands) {
        hand.database.waiting += hand.count
        put(hand, 0)
      }
      return
    }
  }
}

function put(hand: Hand, count: number): void {
  hand.count = count
  hand.room.holds(Math.ceil(count))
}

/** New messages, unevenly over the steps; and those of dead relays that have fallen due. */
function arrive(database: Database, step: number, random: () => number, seen: World['seen']): void {
  const before = database.came[step - 1] ?? 0
  const count = database.away > step ? 0 : database.rate * STEP * (0.5 + random())
  database.came[step] = before + count
  database.waiting += count
  for (const orphan of database.orphans) {
    if (orphan.due > step || orphan.count === 0) continue
    seen.orphans += orphan.count
    seen.orphansWaited = Math.max(seen.orphansWaited, (step - orphan.since) * STEP * 1000)
    database.waiting += orphan.count
    orphan.count = 0
  }
}

interface Surroundings {
  readonly waits: Map<number, number>
  readonly brokerAway: boolean
  readonly seen: { again: number }
}

/**
 * One step of one relay: publishes what it holds, as far as its CPU goes, and claims where there is
 * room.
 */
function work(relay: Relay, step: number, scene: Scene, { waits, brokerAway }: Surroundings): void {
  let left = scene.relayCapacity * STEP
  const { hands } = relay
  relay.turn = (relay.turn + 1) % Math.max(1, hands.length)
  for (let index = 0; index < hands.length; index++) {
    const hand = hands[(relay.turn + index) % hands.length] as Hand
    const { database } = hand
    if (database.away > step || brokerAway) continue
    if (hand.count > 0 && hand.ready <= step) {
      const sent = Math.min(hand.count, left, database.room)
      left -= sent
      database.room -= sent
      relay.busy += sent / scene.relayCapacity
      put(hand, hand.count - sent < 1e-6 ? 0 : hand.count - sent)
      depart(database, sent, step, waits)
    }
    const rows =
      database.waiting < 1 ? 0 : Math.min(hand.room.next(scene.batchSize), database.waiting)
    if (rows === 0) continue
    database.waiting -= rows
    put(hand, hand.count + rows)
    hand.ready = step + Math.max(1, Math.round((ROUND_TRIPS * 0.001) / STEP))
  }
}

/** First come, first served: tells how long they waited. */
function depart(database: Database, count: number, step: number, waits: Map<number, number>): void {
  database.left += count
  while (database.oldest < step && (database.came[database.oldest] ?? 0) < database.left - 1e-6)
    database.oldest++
  const ms = Math.round((step - database.oldest + 1) * STEP * 1000)
  database.longest = Math.max(database.longest, ms)
  waits.set(ms, (waits.get(ms) ?? 0) + count)
}

function quantileOf(waits: ReadonlyMap<number, number>, share: number): number {
  const sorted = [...waits].toSorted(([a], [b]) => a - b)
  const all = sorted.reduce((sum, [, count]) => sum + count, 0)
  let sum = 0
  for (const [ms, count] of sorted) {
    sum += count
    if (sum >= all * share) return ms
  }
  return 0
}
