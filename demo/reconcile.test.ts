import { expect, test } from 'vitest'
import { type Reconciliation, brokenPromises } from './reconcile.ts'

const good: Reconciliation = {
  commands: 10,
  students: 10,
  events: 10,
  financial: 9,
  lost: 0,
  phantom: 0,
  duplicateEffects: 0,
  unfinished: 0,
  garbled: 0,
  repeatedEvents: 3,
  deadLetters: 2,
  waiting: 0,
}

test('events that are published again break no promise', () => {
  expect(brokenPromises(good, 2)).toEqual([])
})

test.for(['lost', 'phantom', 'duplicateEffects', 'unfinished', 'garbled', 'waiting', 'students', 'deadLetters'] as const)(
  'a wrong number of %s breaks one',
  (name) => {
    expect(brokenPromises({ ...good, [name]: good[name] + 1 }, 2)).toHaveLength(1)
  },
)
