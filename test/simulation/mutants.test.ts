import { describe, expect, test } from 'vitest'
import { mutants, withMutant } from './mutants.ts'
import { simulate, type Subject } from './simulate.ts'

const MOST_SEEDS = 2000

/** The first seed that shows the bug, and what the checks say. */
async function hunt(subject: Subject): Promise<{ readonly seed: number; readonly violations: readonly string[] } | undefined> {
  for (let seed = 1; seed <= MOST_SEEDS; seed++) {
    const { violations } = await simulate(seed, subject)
    if (violations.length > 0) return { seed, violations }
  }
  return undefined
}

describe('the random test sees every deliberate bug', { timeout: 240_000 }, () => {
  test('the copied source without a bug passes', async () => {
    await withMutant(undefined, async (subject) => {
      for (let seed = 1; seed <= 50; seed++) expect((await simulate(seed, subject)).violations).toEqual([])
    })
  })

  test.each(mutants)('$name', async (mutant) => {
    const found = await withMutant(mutant, hunt)
    process.stderr.write(`${mutant.name}: seed ${found?.seed ?? 'none'}: ${found?.violations[0] ?? 'not seen'}\n`)
    expect(found).toBeDefined()
    const names = found?.violations.map((violation) => violation.split(':')[0] ?? '') ?? []
    expect(mutant.seenBy.some((name) => names.includes(name))).toBe(true)
  })
})
