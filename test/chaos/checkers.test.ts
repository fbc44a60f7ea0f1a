/**
 * What the checkers make of small histories. That they see bugs in whole runs is what `npm run
 * chaos:mutants` is for.
 */
import { expect, test } from 'vitest'
import type { Evidence } from './checkers/evidence.ts'
import { faultsIn } from './checkers/evidence.ts'
import { memoryCheckers } from './checkers/memory.ts'
import { metricsTruth } from './checkers/meters.ts'
import { processCheckers } from './checkers/processes.ts'
import type { Event, Line } from './history.ts'

const MIB = 2 ** 20

function evidence(events: readonly Event[]): Evidence {
  const lines = events.map(
    (event, index): Line => ({ t: index * 1000, proc: 'relay-1', life: 1, ...event }),
  )
  return {
    store: 'sqlite',
    truth: {
      committed: [],
      torn: [],
      arrivals: [],
      effects: [],
      dead: new Set(),
      intrusions: [],
      sizes: {},
      versions: {},
      gauges: [],
      texts: [],
    },
    lines,
    faults: faultsIn(lines),
    publishes: new Map(),
    transactions: [],
    settled: new Set(),
    ended: new Set(),
    wiped: new Set(),
    doomed: new Set(),
    stuck: [],
    leaks: [],
    copies: new Map(),
  }
}

const found = (name: string, events: readonly Event[]): readonly string[] => {
  const checker = [...memoryCheckers, ...processCheckers, metricsTruth].find(
    ({ check }) => check === name,
  )
  if (checker === undefined) throw new Error(`no checker ${name}`)
  return checker.find(evidence(events))
}

/** The heap in MiB at each sample; in every third, as much again is in flight. */
const held = (count: number, mib: (sample: number) => number): Event[] =>
  Array.from({ length: count }, (_, sample) => ({
    op: 'live',
    phase: 'ok',
    heap: mib(sample) * MIB,
    external: (sample % 3 === 0 ? 20 : 9) * MIB,
    buffers: 0,
  }))

test.each([
  [
    'nothing',
    'of a process that holds as much as ever, whatever is in flight',
    held(40, () => 15),
    [],
  ],
  [
    'nothing',
    'of a process that warms up',
    held(40, (sample) => 12 + Math.min(sample, 15) / 5),
    [],
  ],
  ['nothing', 'of a process that lived too shortly to tell', held(13, (sample) => 15 + sample), []],
  [
    'a leak',
    'of a process that holds a little more at each sample',
    held(40, (sample) => 15 + sample / 6),
    [expect.stringMatching(/^relay-1#1/)],
  ],
])('leak finds %s %s', (_, __, events, expected) => {
  expect(found('leak', events)).toEqual(expected)
})

const one = ['id-1', '7', 'token-1'] as const
const orderly: Event = { op: 'exit', phase: 'ok', how: 'exit 0', of: 'relay-1', ofLife: 1 }
const worked: readonly Event[] = [
  { op: 'claim', phase: 'ok', from: 0, rows: [one] },
  { op: 'publish', phase: 'invoke', publish: '1', held: one },
  { op: 'publish', phase: 'ok', publish: '1', kind: 'confirmed' },
  { op: 'settle', phase: 'invoke', call: 1, rows: [['sent', '7', 'token-1']] },
  { op: 'settle', phase: 'ok', call: 1, stale: 0 },
]
const meters = (readings: Readonly<Record<string, number>>): Event => ({
  op: 'meters',
  phase: 'ok',
  readings,
})
const handled = (disposition: string): Event => ({
  op: 'handle',
  phase: 'ok',
  id: 'id-1',
  disposition,
})
const deliveries = [handled('ack'), handled('release')]
const right = { 'published confirmed': 1, claimed: 1, settled: 1 }

test.each([
  ['nothing when the counters are the history', [...worked, meters(right), orderly], []],
  [
    'nothing when a relay gave up waiting for an answer that came later',
    [...worked, meters({ ...right, 'published confirmed': 0, 'published unknown': 1 }), orderly],
    [],
  ],
  [
    'nothing of a process that was forced to stop',
    [...worked, meters({}), { ...orderly, how: 'exit 1' }],
    [],
  ],
  [
    'a confirm that never was',
    [...worked, meters({ ...right, 'published confirmed': 2 }), orderly],
    [expect.stringContaining("'published confirmed' is 2")],
  ],
  [
    'an answer that was not counted',
    [...worked, meters({ ...right, 'published confirmed': 0 }), orderly],
    [expect.stringContaining('1 answers of the broker')],
  ],
  [
    'a settlement too many',
    [...worked, meters({ ...right, settled: 2 }), orderly],
    [expect.stringContaining("'settled' is 2, but there were 1")],
  ],
  [
    'nothing of a delivery that was given back untried, which nobody counts',
    [...worked, ...deliveries, meters({ ...right, delivered: 1, 'given back': 0 }), orderly],
    [],
  ],
  [
    'nothing of a delivery that was given back after a try, which is counted apart',
    [...worked, ...deliveries, meters({ ...right, delivered: 1, 'given back': 1 }), orderly],
    [],
  ],
  [
    'a delivery that was not counted',
    [...worked, ...deliveries, meters({ ...right, delivered: 0, 'given back': 0 }), orderly],
    ["relay-1#1: 'delivered' is 0, but there were 1"],
  ],
  [
    'a delivery that was given back and counted as delivered',
    [...worked, ...deliveries, meters({ ...right, delivered: 2, 'given back': 0 }), orderly],
    ["relay-1#1: 'delivered' is 2, but there were 1"],
  ],
  [
    'a delivery that was counted as given back, and was not',
    [...worked, ...deliveries, meters({ ...right, delivered: 1, 'given back': 2 }), orderly],
    ["relay-1#1: 'given back' is 2, but there were only 1"],
  ],
  [
    'nothing of a build that counts what it gives back as delivered',
    [...worked, ...deliveries, meters({ ...right, delivered: 2 }), orderly],
    [],
  ],
  [
    'a delivery that such a build did not count',
    [...worked, ...deliveries, meters({ ...right, delivered: 1 }), orderly],
    ["relay-1#1: 'delivered' is 1, but there were 2"],
  ],
] satisfies readonly (readonly [string, readonly Event[], readonly unknown[]])[])(
  'metricsTruth finds %s',
  (_, events, expected) => {
    expect(found('metricsTruth', events)).toEqual(expected)
  },
)

test('claimLeak takes a position for a row only together with the message, since a position that was rolled back is given again', () => {
  const claim = (id: string, token: string): Event => ({
    op: 'claim',
    phase: 'ok',
    from: 0,
    rows: [[id, '7', token]],
  })
  expect(found('claimLeak', [claim('id-1', 'token-1'), claim('id-2', 'token-2')])).toEqual([])
  expect(found('claimLeak', [claim('id-1', 'token-1'), claim('id-1', 'token-2')])).toEqual([
    expect.stringContaining('too early from'),
  ])
})
