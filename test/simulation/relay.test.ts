import { expect, test } from 'vitest'
import { createRelay } from '../../src/outbox/relay.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import seedsThatFailed from './seeds-that-failed.json' with { type: 'json' }
import { simulate } from './simulate.ts'

const subject = { createRelay, memoryStore }
const FIRST_SEED = Number(process.env['MERSAL_SEED'] ?? 1)
/** The run of everything takes 20,000 more. */
const SCHEDULES = Number(process.env['MERSAL_SCHEDULES'] ?? 250)

test(`the promises of the relay hold in ${SCHEDULES} random schedules with crashes, pauses and faults`, {
  timeout: 600_000,
}, async () => {
  const bad: string[] = []
  let faultFree = 0
  const totals = { messages: 0, publishes: 0, crashes: 0, pauses: 0, dead: 0 }
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES; seed++) {
    const outcome = await simulate(seed, subject)
    if (outcome.faultFree) faultFree++
    for (const name of Object.keys(totals) as (keyof typeof totals)[])
      totals[name] += outcome.counts[name]
    if (outcome.violations.length > 0) bad.push(`seed ${seed}: ${outcome.violations.join('; ')}`)
    if (bad.length >= 10) break
  }
  process.stderr.write(
    `${SCHEDULES} schedules, ${faultFree} without faults: ${JSON.stringify(totals)}\n`,
  )
  expect(bad).toEqual([])
})

test.each(seedsThatFailed)(
  'the promises hold with seed $seed, which once found: $found',
  async ({ seed }) => {
    const { violations, counts } = await simulate(seed, subject)
    expect({ violations, published: counts.publishes > 0 }).toEqual({
      violations: [],
      published: true,
    })
  },
)

test('a seed replays to the same trace', async () => {
  for (const seed of [3, 11, 42, 1234]) {
    const first = await simulate(seed, subject)
    const second = await simulate(seed, subject)
    expect(first.trace.length).toBeGreaterThan(20)
    expect(second.trace).toEqual(first.trace)
  }
})

test('different seeds give different traces', async () => {
  const first = await simulate(1, subject)
  const second = await simulate(2, subject)
  expect(second.trace).not.toEqual(first.trace)
})
