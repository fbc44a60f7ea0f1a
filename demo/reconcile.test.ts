import { expect, test } from 'vitest'
import { type Findings, type Reconciliation, brokenPromises, reconcile } from './reconcile.ts'

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

test.for([
  'lost',
  'phantom',
  'duplicateEffects',
  'unfinished',
  'garbled',
  'waiting',
  'students',
  'deadLetters',
] as const)('a wrong number of %s breaks one', (name) => {
  expect(brokenPromises({ ...good, [name]: good[name] + 1 }, 2)).toHaveLength(1)
})

const found: Findings = {
  commands: 2,
  students: [
    { id: 'a', line: 1, name: 'Anna' },
    { id: 'b', line: 2, name: 'Bo' },
  ],
  financial: [
    { studentId: 'a', name: 'Anna' },
    { studentId: 'b', name: 'Bo' },
  ],
  events: [
    { id: '1', studentId: 'a' },
    { id: '2', studentId: 'b' },
  ],
  deadLetters: [],
  waiting: 0,
}

test.for([
  ['nothing', {}, {}],
  ['a student of whom nobody was told', { events: found.events.slice(1) }, { lost: 1, events: 1 }],
  ['an event about nobody', { students: found.students.slice(1) }, { phantom: 1, students: 1 }],
  [
    'an event that says no student',
    { events: [...found.events, { id: '3', studentId: undefined }] },
    { phantom: 1, events: 3 },
  ],
  [
    'a command that was handled twice',
    { students: [...found.students, { id: 'c', line: 2, name: 'Bo' }] },
    { duplicateEffects: 1, lost: 1, students: 3 },
  ],
  [
    'a registration that was made twice',
    { financial: [...found.financial, found.financial[0]!] },
    { duplicateEffects: 1, financial: 3 },
  ],
  [
    'a registration that is missing',
    { financial: found.financial.slice(1) },
    { unfinished: 1, financial: 1 },
  ],
  [
    'a registration that was given up',
    {
      financial: found.financial.slice(1),
      deadLetters: [
        { id: '1', studentId: 'a' },
        { id: '1', studentId: 'a' },
      ],
    },
    { deadLetters: 1, financial: 1 },
  ],
  [
    'a name that changed',
    { financial: [{ studentId: 'a', name: 'Ann' }, found.financial[1]!] },
    { garbled: 1 },
  ],
  [
    'an event that was published again',
    { events: [...found.events, found.events[0]!] },
    { repeatedEvents: 1 },
  ],
] as const)('%s is counted', ([, change, expected]) => {
  const clean = {
    ...good,
    commands: 2,
    students: 2,
    events: 2,
    financial: 2,
    repeatedEvents: 0,
    deadLetters: 0,
  }
  expect(reconcile({ ...found, ...change })).toEqual({ ...clean, ...expected })
})
