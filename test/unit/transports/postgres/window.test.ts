import { expect, test } from 'vitest'
import { Window } from '../../../../src/transports/postgres/window.ts'

test('a full look is followed by looks from its end, for nine times as long as it took', () => {
  const window = new Window()
  expect(window.plan(0)).toBe(0n)
  window.looked({ from: 0n, end: 500n, highest: undefined, startedAt: 0, endedAt: 10 })
  expect(window.plan(99)).toBe(501n)
  expect(window.plan(100)).toBe(0n)
})

test('a look that filled the hands is continued behind the last one that was taken', () => {
  const window = new Window()
  window.looked({ from: 0n, end: 500n, highest: 20n, startedAt: 0, endedAt: 10 })
  expect(window.plan(11)).toBe(21n)
})

test('what lies below is looked for again, though not at once; a quick full look comes back quickly', () => {
  const window = new Window()
  window.looked({ from: 0n, end: 500n, highest: undefined, startedAt: 0, endedAt: 10 })
  expect(window.fullAt).toBe(Infinity)
  window.looked({ from: 501n, end: 600n, highest: undefined, startedAt: 11, endedAt: 12 })
  expect(window.fullAt).toBe(100)
  window.looked({ from: 0n, end: 600n, highest: undefined, startedAt: 100, endedAt: 100.1 })
  window.wantFull()
  expect(window.fullAt).toBeCloseTo(101)
})

test('however long a full look took, the next one comes within seconds', () => {
  const window = new Window()
  window.looked({ from: 0n, end: 1n, highest: undefined, startedAt: 0, endedAt: 60_000 })
  expect(window.plan(65_000)).toBe(0n)
})
