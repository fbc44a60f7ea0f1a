import { describe, expect, test } from 'vitest'
import { find, mutants, withMutant } from './mutants.ts'
import { simulate } from './simulate.ts'

describe('the random test sees every deliberate bug', { timeout: 240_000 }, () => {
  test('the copied source without a bug passes', async () => {
    await withMutant(undefined, async (subject) => {
      const first = Array.from({ length: 50 }, (_, index) => index + 1)
      // What the others try first has to be green here: else they would see no bug of theirs.
      const tried = mutants.flatMap(({ seed }) => seed ?? [])
      for (const seed of new Set([...first, ...tried]))
        expect((await simulate(seed, subject)).violations).toEqual([])
    })
  })

  test.each(mutants)('$name', async (mutant) => {
    const found = await withMutant(mutant, (subject) => find(mutant, subject))
    process.stderr.write(
      `${mutant.name}: seed ${found?.seed ?? 'none'}: ${found?.violations[0] ?? 'not seen'}\n`,
    )
    expect(found).toBeDefined()
    const names = found?.violations.map((violation) => violation.split(':')[0] ?? '') ?? []
    expect(mutant.seenBy.some((name) => names.includes(name))).toBe(true)
  })
})
