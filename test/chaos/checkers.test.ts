/**
 * What the checkers make of small histories. That they see bugs in whole runs is what `npm run
 * chaos:mutants` is for.
 */
import { expect, test } from 'vitest'
import { logToken } from '../../src/core/commit-log.ts'
import type { Evidence } from './checkers/evidence.ts'
import { faultsIn } from './checkers/evidence.ts'
import { memoryCheckers } from './checkers/memory.ts'
import { messageCheckers, withDiscarded } from './checkers/messages.ts'
import { metricsTruth } from './checkers/meters.ts'
import { processCheckers } from './checkers/processes.ts'
import type { Event, Line } from './history.ts'
import { losing } from './nemeses/losses.ts'

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
  const checker = [...memoryCheckers, ...processCheckers, ...messageCheckers, metricsTruth].find(
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
const logged = ['sent', '7', logToken('019a0000-0000-7000-8000-000000000001')] as const
const other = ['sent', '8', logged[2]] as const
const settling = (call: number, rows: readonly (typeof logged)[], stale: number): Event[] => [
  { op: 'settle', phase: 'invoke', call, rows },
  { op: 'settle', phase: 'ok', call, stale },
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
    'nothing when what came from the log was settled again',
    [
      ...settling(1, [logged, other] as never, 1),
      ...settling(2, [logged, other] as never, 2),
      ...settling(3, [logged, other] as never, 1),
      meters({ settled: 2 }),
      orderly,
    ],
    [],
  ],
  [
    'what came from the log, was settled again in vain, and is not counted as too late',
    [...settling(1, [logged], 1), ...settling(2, [logged], 1), meters({ settled: 1 }), orderly],
    [
      expect.stringContaining("'settled' is 1, but there were 0"),
      expect.stringContaining("'settled too late' is 0, but there were 1"),
    ],
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

const fault = (name: string, phase: 'invoke' | 'ok'): Event => ({
  op: 'fault',
  phase,
  name,
  detail: '',
})
const confirm: Event = { op: 'publish', phase: 'ok', publish: '1', kind: 'confirmed' }
/** Each event is a second. */
const seconds = (count: number): Event[] =>
  Array.from({ length: count }, () => ({ op: 'log', phase: 'ok', level: 'info', text: '' }))

test('no publish for 17 s after a fault is a late recovery', () => {
  const events = [fault('a', 'invoke'), fault('a', 'ok'), ...seconds(16), confirm]
  expect(found('recovery', events)).toEqual(['a: 17000 ms'])
  expect(found('recovery', events.toSpliced(2, 1))).toEqual([])
})

test('the fault that comes next excuses no late recovery', () => {
  const other = (count: number): Event[] => [
    fault('b', 'invoke'),
    ...seconds(count),
    fault('b', 'ok'),
  ]
  const healed = [fault('a', 'invoke'), fault('a', 'ok')]
  expect(found('recovery', [...healed, ...other(13), confirm])).toEqual([])
  expect(
    found('recovery', [...healed, ...seconds(7), ...other(7), ...seconds(2), confirm]),
  ).toEqual(['a: 19000 ms'])
})

test('a late recovery counts from when nothing is broken any more that was broken then', () => {
  const both = (other: string, last: number): Event[] => [
    fault(other, 'invoke'),
    fault('a', 'invoke'),
    fault('a', 'ok'),
    ...seconds(14),
    fault(other, 'ok'),
    ...seconds(last),
    confirm,
  ]
  expect(found('recovery', both('broker-restart', 10))).toEqual([])
  expect(found('recovery', both('broker-restart', 16))).toHaveLength(2)
  expect(found('recovery', both('hang', 10))).toEqual(['a: 26000 ms'])
})

const sent = { bytes: 3, digest: 'abc' }
const letter = (more: object = {}): Event => ({
  op: 'letter',
  phase: 'ok',
  letter: { id: '1', reason: 'too-large', ...sent, ...more },
  sent,
  reason: 'too-large',
})

test('a dead letter that an operator discards has to be what was sent, with its reason', () => {
  expect(found('letters', [letter()])).toEqual([])
  expect(found('letters', [letter({ digest: 'abd' })])).toEqual(['1: 3 bytes of 3, too-large'])
  expect(found('letters', [letter({ bytes: 2 })])).toHaveLength(1)
  expect(found('letters', [letter({ reason: 'expired' })])).toHaveLength(1)
})

test('a discarded dead letter is no lost message', () => {
  const { truth, lines } = evidence([letter()])
  expect([...withDiscarded(truth, lines).dead]).toEqual(['1'])
})

test('what an operator loses is noted, though the answer of his tool was lost and the database away', async () => {
  const wiped = new Set<string>()
  const notes: Event[] = []
  let away = 2
  const scene = {
    wiped,
    history: { note: (event: Event) => void notes.push(event), [Symbol.dispose]: () => {} },
    place: {
      query: <Row extends object>() =>
        away-- > 0
          ? Promise.reject(new Error('starting up'))
          : Promise.resolve([{ id: 'lost' }] as unknown as Row[]),
    },
  }
  const remove = (): Promise<never> => Promise.reject(new Error('no answer in time'))
  await expect(losing(scene, { remove, back: () => Promise.resolve() })).rejects.toThrow(
    'no answer in time',
  )
  expect([...wiped]).toEqual(['lost'])
  expect(notes).toHaveLength(1)
})
