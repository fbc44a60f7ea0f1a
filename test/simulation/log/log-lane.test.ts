import { describe, expect, test } from 'vitest'
import { createRelay } from '../../../src/outbox/relay.ts'
import { memoryStore } from '../../../src/stores/memory.ts'
import { type Mutant, withMutant } from '../mutants.ts'
import { simulate } from '../simulate.ts'
import type { Subject } from '../subject.ts'

const FIRST_SEED = Number(process.env['MERSAL_SEED'] ?? 1)
const SCHEDULES = Number(process.env['MERSAL_SCHEDULES'] ?? 250)
const MOST_SEEDS = 2000

const logged = (seed: number, subject: Subject) => simulate(seed, subject, { log: true })

test(`P2 P5 P6: the promises hold in ${SCHEDULES} schedules in which relays publish from the log of commits`, {
  timeout: 600_000,
}, async () => {
  const bad: string[] = []
  const totals = { messages: 0, publishes: 0, crashes: 0, pauses: 0, dead: 0, logged: 0 }
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES && bad.length < 10; seed++) {
    const { violations, counts } = await logged(seed, { createRelay, memoryStore })
    for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += counts[name]
    if (violations.length > 0) bad.push(`seed ${seed}: ${violations.join('; ')}`)
  }
  process.stderr.write(`${SCHEDULES} schedules with the log: ${JSON.stringify(totals)}\n`)
  expect(bad).toEqual([])
  expect(totals.logged).toBeGreaterThan(totals.messages / 10)
})

const mutants: readonly Mutant[] = [
  {
    name: 'a settlement that came before its row could be seen is not repeated',
    file: 'outbox/log/settle-again.ts',
    from: 'Math.min(result.stale, logged.length)',
    to: '0 * logged.length',
    seenBy: ['duplicates'],
  },
  {
    name: 'a reader publishes although a claim may have taken the row',
    file: 'outbox/log/log-lane.ts',
    from: 'publishUntil: keepUntil - graceMs / 2',
    to: 'publishUntil: Number.POSITIVE_INFINITY',
    seenBy: ['duplicates', 'inversion'],
  },
  {
    name: 'a refusal of what came from the log is taken for a confirm',
    file: 'outbox/settle/settle-policy.ts',
    from: "? { kind: 'release', position, token }",
    to: "? { kind: 'sent', position, token }",
    seenBy: ['lost'],
  },
]

describe('P2 P5 P6: the schedules see every deliberate bug', { timeout: 240_000 }, () => {
  test.each(mutants)('$name', async ({ seenBy, ...mutant }) => {
    const found = await withMutant({ ...mutant, seenBy }, async (subject) => {
      for (let seed = 1; seed <= MOST_SEEDS; seed++) {
        const { violations } = await logged(seed, subject)
        if (violations.length > 0) return violations
      }
      return []
    })
    const names = found.map((violation) => violation.split(':')[0] ?? '')
    expect(seenBy.some((name) => names.includes(name))).toBe(true)
  })
})
