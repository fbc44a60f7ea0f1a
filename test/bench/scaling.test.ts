import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readOutcomes } from '../../bench/document.ts'
import { interleave } from '../../bench/measure.ts'
import type { Outcome } from '../../bench/outcome.ts'
import { tableOf } from '../../bench/report.ts'
import { checks } from '../../bench/scaling/check.ts'
import { costsOf } from '../../bench/scaling/costs.ts'
import { scalingFile } from '../../bench/scaling/main.ts'
import { capacities, needs } from '../../bench/scaling/model.ts'
import { scalingPage } from '../../bench/scaling/page.ts'
import { type Scene, simulate } from '../../bench/scaling/simulation.ts'

test('docs/scaling.md is what bench/scaling makes of the reference run', () => {
  expect(readFileSync(scalingFile, 'utf8')).toBe(scalingPage(readOutcomes()))
})

type Candidates = Readonly<
  Record<string, { readonly rate: number; readonly cpu: Readonly<Record<string, number>> }>
>

/** A section of a run in which these were measured. */
async function run(
  section: string,
  tables: Readonly<Record<string, Candidates>>,
): Promise<Outcome> {
  const made = Object.entries(tables).map(async ([id, candidates]) => {
    const list = Object.entries(candidates).map(([name, given]) => ({
      name,
      run: () => Promise.resolve({ ...given, faults: [] }),
    }))
    return tableOf(
      { id, title: id, unit: 'messages/s' },
      await interleave(list, 1, { warmUp: false }),
    )
  })
  const about = {
    machine: '2 × test',
    versions: {},
    runs: 1,
    seconds: 1,
    size: 'full',
    at: '2026-01-01T00:00:00.000Z',
  } as const
  return { section, ...about, tables: await Promise.all(made) }
}

const keyed = 'Mersal, 1,000 keys'
/** A message costs 2 s / 100k to write, 4 s in the database; to relay 5, 3 and 2. */
async function outcomes(): Promise<Outcome[]> {
  return [
    await run('write', {
      'write 8': {
        'business row alone': { rate: 10_000, cpu: { node: 4, postgres: 10 } },
        '+ 1 keyed message, Mersal': { rate: 5000, cpu: { node: 6, postgres: 14 } },
      },
    }),
    await run('relay', {
      'relay quorum': {
        'bare publishing': { rate: 20_000, cpu: { relay: 2, postgres: 0, rabbitmq: 2 } },
        [keyed]: { rate: 12_000, cpu: { relay: 5, postgres: 3, rabbitmq: 2 } },
      },
    }),
    await run('scale', {
      'scale relays': {
        '1 relay': { rate: 10_000, cpu: { relay: 5, postgres: 3, rabbitmq: 2 } },
        '4 relays': { rate: 20_000, cpu: { relay: 5, postgres: 3, rabbitmq: 2 } },
      },
    }),
  ]
}

describe('the cost model', () => {
  test('takes what the message adds to its transaction, and leaves out what no section has measured', async () => {
    const costs = costsOf(await outcomes())
    expect(costs.business?.database.middle).toBe(10)
    expect(costs.outbox).toMatchObject({ app: { middle: 2 }, database: { middle: 4 } })
    expect(costs.relay?.process.middle).toBe(5)
    expect(costs.inbox).toBeUndefined()
    expect(costs.walBytes).toBeUndefined()
  })

  test('says what one of each can take, the least first, and how many a load needs', async () => {
    const costs = costsOf(await outcomes())
    const rates = new Map(
      capacities(costs).map(({ part, rate }) => [part, Math.round(rate.middle)]),
    )
    // 0.7 of a core: 100,000 messages in 6 CPU seconds, and in 5; of the database in 10 + 4 + 3, on
    // 16 cores that do 0.7 each.
    expect([...rates]).toEqual([
      ['one process that writes', 11_667],
      ['one relay process', 14_000],
      ['one quorum queue', 20_000],
      ['one database of 16 cores, CPU', 46_118],
    ])
    const counts = new Map(needs(costs, 100_000).map(({ part, count }) => [part, count.middle]))
    expect(counts.get('one relay process')).toBe(8)
    expect(counts.get('one database of 16 cores, CPU')).toBe(3)
    expect(counts.get('one quorum queue')).toBe(5)
  })

  test('is compared with runs that it was not made from, and tells its error', async () => {
    const found = checks(await outcomes(), 2)
    expect(
      found.map(({ run, predicted, error }) => [
        run,
        Math.round(predicted),
        Number(error.toFixed(2)),
      ]),
    ).toEqual([
      ['scale relays: 1 relay', 12_000, 0.2],
      ['scale relays: 4 relays', 19_000, -0.05],
    ])
  })
})

const scene: Scene = {
  seed: 7,
  databases: 6,
  relays: 3,
  servedBy: 2,
  rate: 15_000,
  skew: 0,
  seconds: 40,
  relayCapacity: 8000,
  databaseCapacity: 20_000,
  window: 1000,
  batchSize: 500,
  claimMs: 15_000,
  pollIntervalMs: 1000,
}

describe('the simulation', () => {
  test('gives the same for the same seed, and something else for another', () => {
    expect(simulate(scene)).toEqual(simulate(scene))
    expect(simulate({ ...scene, seed: 8 })).not.toEqual(simulate(scene))
  })

  test('moves everything below the limits, within the windows, and falls behind above them', () => {
    const well = simulate(scene)
    expect(well.share).toBeGreaterThan(0.99)
    expect(well.longest).toBeLessThan(1000)
    expect(well.mostHeld).toBeLessThanOrEqual(scene.relays * scene.window)
    expect(well.relayBusy).toBeCloseTo(15_000 / 24_000, 1)
    const full = simulate({ ...scene, rate: 36_000 })
    expect(full.share).toBeLessThan(0.7)
    expect(full.relayBusy).toBeGreaterThan(0.95)
  })

  test('lets what a dead relay held wait for the end of its claims, and nothing else', () => {
    const { orphans, orphansWaited, longest } = simulate({
      ...scene,
      events: [{ kind: 'relay dies', at: 10, relay: 0, replacedAfter: 2 }],
    })
    expect(orphans).toBeGreaterThan(0)
    expect(orphans).toBeLessThanOrEqual(scene.window)
    expect(orphansWaited).toBe(16_000)
    expect(longest).toBeLessThan(10_000)
  })

  test('holds up only the tenants of a database that is away', () => {
    const { longest, longestElsewhere, again } = simulate({
      ...scene,
      events: [{ kind: 'database away', at: 10, database: 0, for: 10 }],
    })
    expect(longest).toBeGreaterThanOrEqual(10_000)
    expect(longestElsewhere).toBeLessThan(1000)
    expect(again).toBeGreaterThan(0)
  })

  test('catches up after the broker was away', () => {
    const { share, longest, recovered } = simulate({
      ...scene,
      events: [{ kind: 'broker away', at: 5, for: 5 }],
    })
    expect(longest).toBeGreaterThanOrEqual(5000)
    expect(share).toBeGreaterThan(0.99)
    expect(recovered).toBeLessThan(15)
  })
})
