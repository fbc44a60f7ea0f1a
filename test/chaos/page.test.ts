import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { mutants } from './mutants.ts'
import { page, pagePath } from './page.ts'
import { plantable } from './plant.ts'

test('docs/reliability.md is what test/chaos/page.ts makes of the results', () => {
  expect(readFileSync(pagePath, 'utf8')).toBe(page())
})

test.each(mutants.map((mutant) => [mutant.name, mutant] as const))('the bug %s still has its place in the source', async (_, mutant) => {
  await plantable(mutant)
})
