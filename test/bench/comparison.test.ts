import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { candidates } from '../../bench/rivals/plan.ts'
import { page, pagePath, type Result } from '../../bench/rivals/page.ts'
import { scenarios } from '../../bench/rivals/scenarios.ts'
import { peerVersions } from '../../bench/peers/load.ts'
import result from '../../bench/reference/rivals.json' with { type: 'json' }

test('docs/comparison.md is what bench/rivals/page.ts makes of the results', () => {
  expect(readFileSync(pagePath, 'utf8')).toBe(page())
})

test('every trouble was tried with Mersal, and each result is of a version that would be installed now', () => {
  const { rows, versions } = result as Result
  const all = candidates.flatMap((name) => Object.keys(scenarios).map((one) => `${name}: ${one}`))
  const went = rows.map(({ candidate, scenario }) => `${candidate}: ${scenario}`)
  // In their order, and each once. What is missing stands as 'not run' on the page.
  expect(all.filter((one) => went.includes(one))).toEqual(went)
  expect(went.filter((one) => one.startsWith('Mersal'))).toHaveLength(Object.keys(scenarios).length)
  expect(versions).toMatchObject(peerVersions())
})
