import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { document, page, readOutcomes } from '../../bench/document.ts'
import { goals, type Tables, verdict } from '../../bench/goals.ts'
import type { Outcome } from '../../bench/outcome.ts'
import { tableOf } from '../../bench/report.ts'
import { interleave } from '../../bench/measure.ts'
import { sections } from '../../bench/sections.ts'

test('docs/performance.md is what bench/document.ts makes of the reference run', () => {
  expect(readFileSync(page, 'utf8')).toBe(document(readOutcomes()))
})

/** Two rounds in which the machine was fast and slow, the same for both. */
async function relayTable(mersal: number, faults: readonly string[] = []) {
  const speeds = [1000, 500]
  const candidate = (name: string, share: number) => {
    let round = 0
    return {
      name,
      run: () =>
        Promise.resolve({
          rate: (speeds[round++] ?? 0) * share,
          cpu: { relay: 1, postgres: 0.5 },
          faults,
        }),
    }
  }
  const results = await interleave(
    [candidate('bare publishing', 1), candidate('Mersal, 1,000 keys', mersal)],
    2,
    { warmUp: false },
  )
  return tableOf({ id: 'relay classic', title: 'Relay', unit: 'messages/s' }, results)
}

const classic = goals.find(({ text }) => text.startsWith('classic queue'))

test.each([
  [0.91, 'reached'],
  [0.89, 'missed'],
])('a goal at %d of bare publishing is %s', async (share, expected) => {
  const tables: Tables = new Map([['relay classic', await relayTable(share)]])
  const value = classic?.value(tables)
  expect(value).toBeCloseTo(share)
  expect(classic && verdict(classic, value)).toBe(expected)
})

test('a goal of a section that did not run is not measured', () => {
  expect(goals.map((goal) => verdict(goal, goal.value(new Map())))).toEqual(
    goals.map(() => 'not measured'),
  )
})

test('something lost misses the goal of correctness', async () => {
  const tables: Tables = new Map([['relay classic', await relayTable(1, ['1 of 2 lost'])]])
  const correctness = goals.at(-1)
  expect(correctness && verdict(correctness, correctness.value(tables))).toBe('missed')
})

test('every section has its chapter, and every goal a section', async () => {
  const table = await relayTable(1)
  const outcomes = Object.keys(sections).map((section): Outcome => {
    return {
      section,
      machine: 'one',
      versions: {},
      runs: 2,
      seconds: 1,
      size: 'full',
      at: '2026-01-01',
      tables: [table],
    }
  })
  const text = document(outcomes)
  for (const section of Object.keys(sections))
    expect(text).toMatch(new RegExp(`## ${section}\n\n\\w.+`))
  expect(goals.filter(({ section }) => section !== 'all' && !(section in sections))).toEqual([])
})
