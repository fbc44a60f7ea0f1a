import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { faultMutants } from './fault-mutants.ts'
import { mutants } from './mutants.ts'
import { page, pagePath } from './page.ts'
import { results } from './page-parts.ts'
import { plantable } from './plant.ts'
import { readme, readmePath } from './readme-table.ts'

test('docs/reliability.md is what test/chaos/page.ts makes of the results', () => {
  expect(readFileSync(pagePath, 'utf8')).toBe(page())
})

test('the table of the README is what test/chaos/page.ts makes of the results', () => {
  const text = readFileSync(readmePath, 'utf8')
  expect(text).toBe(readme(text, results()))
  expect(() => readme('no place', results())).toThrow(/no place for the table/)
})

test.each([...mutants, ...faultMutants].map((mutant) => [mutant.name, mutant] as const))(
  'the bug %s still has its place in the source',
  async (_, mutant) => {
    await plantable(mutant)
  },
)
