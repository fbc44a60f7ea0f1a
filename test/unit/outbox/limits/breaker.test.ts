import { expect, test } from 'vitest'
import {
  type Breakers,
  createBreakers,
  FAILURES_TO_OPEN,
} from '../../../../src/outbox/limits/breaker.ts'
import { createHoldBacks } from '../../../../src/outbox/limits/hold-backs.ts'
import { createSlowDestinations } from '../../../../src/outbox/limits/slow-destinations.ts'
import { relaySettings } from '../../../../src/outbox/options.ts'
import { type ManualClock, manualClock } from '../../../../src/testing/manual-clock.ts'
import { message, recorder, unavailable } from '../support.ts'

const away = new Error('away')

function make(random = 1): {
  breakers: Breakers
  clock: ManualClock
  changes: string[]
  sooner: () => number
} {
  const clock = manualClock()
  const changes: string[] = []
  let sooner = 0
  const backoff = { firstMs: 1000, longestMs: 30_000 }
  const breakers = createBreakers({
    backoff,
    clock,
    random: () => random,
    onChange: (destination, state) => changes.push(`${destination} ${state}`),
    onSooner: () => void sooner++,
  })
  return { breakers, clock, changes, sooner: () => sooner }
}

function open(breakers: Breakers, destination = 'd'): void {
  for (let failure = 0; failure < FAILURES_TO_OPEN; failure++) breakers.failed(destination, away)
}

test('it opens after three failures in a row, and a success in between begins anew', () => {
  const { breakers, changes } = make()
  breakers.failed('d', away)
  breakers.failed('d', away)
  breakers.succeeded('d')
  breakers.failed('d', away)
  breakers.failed('d', away)
  expect(breakers.admit('d')).toBe('yes')
  breakers.failed('d', away)
  expect(breakers.admit('d')).toBe('no')
  expect(breakers.excepted()).toEqual(['d'])
  expect(changes).toEqual(['d open'])
})

test('it knows each destination by itself', () => {
  const { breakers } = make()
  open(breakers, 'd')
  expect(breakers.admit('other')).toBe('yes')
  expect(breakers.isClosed('other')).toBe(true)
  expect(breakers.isClosed('d')).toBe(false)
})

test('after its time one message is the probe, and the others wait for its answer', async () => {
  const { breakers, clock, changes } = make()
  open(breakers)
  await clock.advance(999)
  expect(breakers.excepted()).toEqual(['d'])
  expect(breakers.nextProbeAt).toBe(1000)
  await clock.advance(1)
  expect(breakers.excepted()).toEqual([])
  expect(breakers.isClosed('d')).toBe(false)
  expect(breakers.admit('d')).toBe('probe')
  expect(breakers.admit('d')).toBe('no')
  expect(breakers.excepted()).toEqual(['d'])
  breakers.succeeded('d')
  expect(breakers.admit('d')).toBe('yes')
  expect(breakers.troubled).toBe(false)
  expect(changes).toEqual(['d open', 'd half-open', 'd probing', 'd closed'])
})

test('each failed probe doubles the time, up to the longest', async () => {
  const { breakers, clock } = make()
  open(breakers)
  const times: number[] = []
  for (let probe = 0; probe < 7; probe++) {
    const ms = breakers.nextProbeAt - clock.monotonic()
    times.push(ms)
    await clock.advance(ms)
    breakers.excepted()
    expect(breakers.admit('d')).toBe('probe')
    breakers.failed('d', away, { probe: true })
  }
  expect(times).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
})

test('the waiting time has jitter: half of the step is random', () => {
  const { breakers } = make(0)
  open(breakers)
  expect(breakers.nextProbeAt).toBe(500)
})

test('failures of messages that were under way when it opened change nothing', async () => {
  const { breakers, clock } = make()
  open(breakers)
  for (let late = 0; late < 100; late++) breakers.failed('d', away)
  expect(breakers.nextProbeAt).toBe(1000)
  await clock.advance(1000)
  breakers.excepted()
  breakers.admit('d')
  breakers.failed('d', away)
  expect(breakers.excepted()).toEqual(['d'])
  breakers.succeeded('d')
  expect(breakers.excepted()).toEqual([])
})

test('a probe that was given back unpublished leaves room for another', async () => {
  const { breakers, clock } = make()
  open(breakers)
  await clock.advance(1000)
  breakers.excepted()
  expect(breakers.admit('d')).toBe('probe')
  breakers.abandoned('d')
  expect(breakers.excepted()).toEqual([])
  expect(breakers.admit('d')).toBe('probe')
})

/** Opens it so often that the next probe is 30 s away, and lets 20 s of them pass. */
async function openForLong(
  breakers: Breakers,
  clock: ManualClock,
  back: Promise<void>,
): Promise<void> {
  open(breakers)
  for (let probe = 0; probe < 7; probe++) {
    await clock.advance(breakers.nextProbeAt - clock.monotonic())
    breakers.excepted()
    breakers.admit('d')
    breakers.failed('d', away, { probe: true, back })
  }
  await clock.advance(20_000)
}

test('when the transport says that the destination is back, the probe comes at once and not after the backoff', async () => {
  const { breakers, clock, sooner } = make()
  const { promise: back, resolve } = Promise.withResolvers<void>()
  await openForLong(breakers, clock, back)
  expect([breakers.excepted(), sooner()]).toEqual([['d'], 0])
  resolve()
  await clock.advance(0)
  expect([breakers.excepted(), sooner()]).toEqual([[], 1])
  expect(breakers.admit('d')).toBe('probe')
})

test('a transport that says so too early does not bring about a busy loop, and one that rejects breaks nothing', async () => {
  const { breakers, clock } = make()
  let probes = 0
  open(breakers)
  for (let passed = 0; passed < 10_000; passed += 50) {
    breakers.excepted()
    if (breakers.admit('d') === 'probe') {
      probes++
      breakers.failed('d', away, {
        probe: true,
        back: probes % 2 === 0 ? Promise.resolve() : Promise.reject(away),
      })
    }
    await clock.advance(50)
  }
  expect(probes).toBeLessThanOrEqual(20)
})

test('an earlier word of the transport says nothing about a later outage', async () => {
  const { breakers, clock } = make()
  const { promise: back, resolve } = Promise.withResolvers<void>()
  await openForLong(breakers, clock, back)
  breakers.succeeded('d')
  open(breakers)
  const due = breakers.nextProbeAt
  resolve()
  await clock.advance(0)
  expect(breakers.nextProbeAt).toBe(due)
})

test('a claim for delayed rows lets nothing become half-open: the claim that looks for a probe does', async () => {
  const clock = manualClock()
  const gates = createHoldBacks({
    environment: { app: 'test', clock, logger: recorder([]), random: () => 1, newToken: () => 't' },
    settings: relaySettings({ breaker: { firstMs: 1000, longestMs: 30_000 } }),
    board: undefined,
    slow: createSlowDestinations(10),
    reports: { breaker: () => {}, slowMode: () => {} },
    onPauses: () => {},
    onProbe: () => {},
    held: () => 0,
  })
  for (let failure = 0; failure < FAILURES_TO_OPEN; failure++)
    gates.messages.answered(message('m'), unavailable, false)
  await clock.advance(1000)
  const grant = { turn: 'all', limit: 10, except: [] } as const
  const exceptDestinations = ['default/queue/q']
  expect(gates.claims.leftAlone({ ...grant, rows: 'all' })).toEqual({ exceptDestinations })
  expect(gates.claims.nextProbeAt).toBe(1000)
  expect(gates.claims.leftAlone(grant)).toEqual({})
  expect(gates.claims.nextProbeAt).toBe(Infinity)
})
