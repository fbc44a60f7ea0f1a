import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { guards } from '../user-code/guards.ts'
import { faultMutants } from './fault-mutants.ts'
import { evidence, evidencePath } from './evidence-table.ts'
import { mutants } from './mutants.ts'
import { page, pagePath } from './page.ts'
import { results } from './page-parts.ts'
import { planted } from './planted.ts'

test('docs/reliability.md is what test/chaos/page.ts makes of the results', () => {
  expect(readFileSync(pagePath, 'utf8')).toBe(page())
})

test('the table of docs/evidence.md is what test/chaos/page.ts makes of the results', () => {
  const text = readFileSync(evidencePath, 'utf8')
  expect(text).toBe(evidence(text, results()))
  expect(() => evidence('no place', results())).toThrow(/no place for the table/)
})

const source = join(import.meta.dirname, '../../src')
const planned = [...mutants, ...faultMutants, ...guards].flatMap(({ name, changes }) =>
  changes.map((change) => [name, change.file, change] as const),
)

test.each(planned)('the bug %s still has its place in %s', async (name, _, change) => {
  expect(await planted(name, source, change)).toContain(change.to)
})
