/** What the checkers of the second workload make of small runs. */
import { expect, test } from 'vitest'
import type { Evidence } from './checkers/evidence.ts'
import { featureCheckers } from './checkers/features.ts'
import type { FeatureTruth } from './features/tables.ts'

/** Saga 4 (both halves) has settled, saga 2 is open with one half, one key was handled in order. */
const sound: FeatureTruth = {
  starts: [
    { number: 4, stamp: 'a' },
    { number: 2, stamp: 'b' },
  ],
  payments: [
    { number: 4, part: 1, stamp: 'c' },
    { number: 4, part: 2, stamp: 'd' },
    { number: 2, part: 1, stamp: 'e' },
  ],
  steps: [
    { number: 4, step: 'start', at: 0 },
    { number: 4, step: 'part 1', at: 1 },
    { number: 4, step: 'part 2', at: 2 },
    { number: 4, step: 'settled', at: 2 },
    { number: 2, step: 'start', at: 3 },
    { number: 2, step: 'part 1', at: 4 },
  ],
  sent: [
    { key: 0, seq: 1 },
    { key: 0, seq: 2 },
  ],
  done: [
    { key: 0, seq: 1 },
    { key: 0, seq: 2 },
  ],
  instances: new Map([[2, { paid: 1, wanted: 1 }]]),
  timeouts: [2],
}

/** Names of the checks that find something. */
function found(changed: Partial<FeatureTruth>, answer = 'a'): readonly string[] {
  const evidence = {
    truth: { features: { ...sound, ...changed } },
    lines: [{ op: 'once', phase: 'ok', key: 'start 4', stamp: answer }],
  } as unknown as Evidence
  return featureCheckers.flatMap((checker) =>
    checker.find(evidence).length > 0 ? [checker.check] : [],
  )
}

const { steps, starts, done } = sound

test('a sound run is none of their business', () => {
  expect(found({})).toEqual([])
})

test.each<[string, Partial<FeatureTruth>, readonly string[]]>([
  [
    'a start that came twice',
    { steps: [...steps, { number: 4, step: 'start', at: 9 }] },
    ['sagaOnce'],
  ],
  ['two ends', { steps: [...steps, { number: 4, step: 'overdue', at: 9999 }] }, ['sagaOnce']],
  ['no end', { steps: steps.filter(({ step }) => step !== 'settled') }, ['sagaOnce']],
  ['a state that was lost', { instances: new Map(), timeouts: [] }, ['sagaOnce']],
  ['an old state', { instances: new Map([[2, { paid: 0, wanted: 1 }]]) }, ['sagaOnce']],
  ['a timeout that was lost', { timeouts: [] }, ['sagaTimeouts']],
  [
    'a timeout that was early',
    {
      starts: [...starts, { number: 1, stamp: 'f' }],
      steps: [...steps, { number: 1, step: 'start', at: 0 }, { number: 1, step: 'overdue', at: 9 }],
    },
    ['sagaTimeouts'],
  ],
  ['two effects', { starts: [...starts, { number: 4, stamp: 'a' }] }, ['onceEffect']],
  ['another order', { done: done.toReversed() }, ['orderedEffect']],
  ['an effect twice', { done: [...done, { key: 0, seq: 2 }] }, ['orderedEffect']],
  ['an effect that is missing', { done: done.slice(0, 1) }, ['orderedEffect']],
])('of %s they tell', (_, changed, checks) => {
  expect(found(changed)).toEqual(checks)
})

test('an answer whose effect is another one is no answer', () => {
  expect(found({}, 'z')).toEqual(['onceEffect'])
})
