import type { Capacity } from './model.ts'
import { type Outcome, type Scene, simulate } from './simulation.ts'

/** The settings of every case, unless it says otherwise. */
const preset = {
  seed: 1,
  seconds: 60,
  window: 1000,
  batchSize: 500,
  claimMs: 15_000,
  pollIntervalMs: 1000,
  servedBy: 2,
  skew: 0,
}

export interface Case {
  readonly name: string
  readonly scene: Scene
  readonly outcome: Outcome
}

/**
 * What one relay and one database move, at the most: as planned, but with the busy share taken
 * back.
 */
export interface Limits {
  readonly relayCapacity: number
  readonly databaseCapacity: number
}

export function limitsOf(capacities: readonly Capacity[], busy: number): Limits | undefined {
  const of = (text: string): number | undefined =>
    capacities.find(({ part }) => part.includes(text))?.rate.middle
  const [relay, database] = [of('relay process'), of('CPU')]
  return relay === undefined || database === undefined
    ? undefined
    : { relayCapacity: relay / busy, databaseCapacity: database / busy }
}

/** At seven tenths of what relays or databases can move, whichever is less. */
export function sizes(limits: Limits): Case[] {
  const plans = [
    [1, 1, 0],
    [1, 2, 0],
    [10, 1, 0],
    [10, 10, 0],
    [10, 10, 0.5],
    [10, 10, 1],
    [100, 10, 0],
    [100, 10, 1],
    [100, 50, 0],
    [100, 50, 0.5],
    [100, 50, 1],
  ] as const
  return plans.map(([databases, relays, skew]) => {
    const scene = {
      ...preset,
      ...limits,
      databases,
      relays,
      skew,
      rate: load(limits, databases, relays),
    }
    const name = `${databases} databases, ${relays} relays, ${['even', 'some busier', 'a few much busier'][skew * 2]}`
    return { name, scene, outcome: simulate(scene) }
  })
}

/**
 * Ten databases and as many relays at six tenths of the load, and one thing goes wrong after 20 s.
 */
export function troubles(limits: Limits): Case[] {
  const base: Scene = {
    ...preset,
    ...limits,
    seconds: 120,
    databases: 10,
    relays: 10,
    skew: 0.5,
    rate: load(limits, 10, 10) * 0.6,
  }
  const at = 20
  const scenes: readonly (readonly [string, Scene])[] = [
    ['nothing', base],
    [
      'a relay dies, another starts after 5 s',
      { ...base, events: [{ kind: 'relay dies', at, relay: 0, replacedAfter: 5 }] },
    ],
    [
      'the same, with claims of 5 s',
      { ...base, claimMs: 5000, events: [{ kind: 'relay dies', at, relay: 0, replacedAfter: 5 }] },
    ],
    [
      'the same, with a window of 10,000',
      {
        ...base,
        window: 10_000,
        batchSize: 2000,
        events: [{ kind: 'relay dies', at, relay: 0, replacedAfter: 5 }],
      },
    ],
    [
      'all relays restart, 2 s each',
      { ...base, events: [{ kind: 'rolling restart', at, away: 2 }] },
    ],
    [
      'the busiest database is away for 30 s',
      { ...base, events: [{ kind: 'database away', at, database: 0, for: 30 }] },
    ],
    ['the broker is away for 10 s', { ...base, events: [{ kind: 'broker away', at, for: 10 }] }],
  ]
  return scenes.map(([name, scene]) => ({ name, scene, outcome: simulate(scene) }))
}

function load(
  { relayCapacity, databaseCapacity }: Limits,
  databases: number,
  relays: number,
): number {
  return 0.7 * Math.min(relays * relayCapacity, databases * databaseCapacity)
}
