import { expect, test } from 'vitest'
import { entryOfCopy } from '../../../src/transports/rabbitmq/order/entry.ts'
import { dueHere } from '../../../src/transports/shared/order/due.ts'

const clock = { now: () => 1_000_000, monotonic: () => 500 }
const DAY_MS = 86_400_000

test.each([
  ['what is due later', { at: 1_000_300, delayMs: 400 }, 800],
  ['what was due before', { at: 999_000, delayMs: 400 }, 0],
  ['what is due now', { at: 1_000_000, delayMs: 400 }, 0],
  ['what a clock that was a day ahead has written', { at: 1_000_300 + DAY_MS, delayMs: 400 }, 900],
  ['what a clock that was a day behind has written', { at: 1_000_300 - DAY_MS, delayMs: 400 }, 0],
  ['what says no delay', { at: 1_000_300, delayMs: Number.POSITIVE_INFINITY }, 800],
])('%s', (_, due, expected) => {
  expect(dueHere(due, clock)).toBe(expected)
})

test('P5: a copy from a process whose clock was a day ahead holds its key for no longer than it was to', () => {
  const headers = { 'x-mersal-due-at': String(Date.now() + DAY_MS), 'x-mersal-delay': '700' }
  const message = { properties: { headers }, fields: { redelivered: true }, content: Buffer.of() }
  const { dueAt } = entryOfCopy({ message: message as never, answer() {} })
  expect(dueAt - performance.now()).toBeGreaterThan(0)
  expect(dueAt - performance.now()).toBeLessThanOrEqual(700)
})
