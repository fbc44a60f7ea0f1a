import { describe, expect, test } from 'vitest'
import { hunt, mutants, withMutant } from './mutants.ts'
import { simulate } from './simulate.ts'

describe('the random test sees every deliberate bug', { timeout: 240_000 }, () => {
  test('the copied source without a bug passes', async () => {
    await withMutant(undefined, async (subject) => {
      for (let seed = 1; seed <= 50; seed++)
        expect((await simulate(seed, subject)).violations).toEqual([])
    })
  })

  test.each(mutants)('$name', async (mutant) => {
    const found = await withMutant(mutant, hunt)
    process.stderr.write(
      `${mutant.name}: seed ${found?.seed ?? 'none'}: ${found?.violations[0] ?? 'not seen'}\n`,
    )
    expect(found).toBeDefined()
    const names = found?.violations.map((violation) => violation.split(':')[0] ?? '') ?? []
    expect(mutant.seenBy.some((name) => names.includes(name))).toBe(true)
  })
})
