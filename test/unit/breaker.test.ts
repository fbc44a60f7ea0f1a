import { expect, test } from 'vitest'
import { type Breakers, createBreakers, FAILURES_TO_OPEN } from '../../src/outbox/breaker.ts'
import { type ManualClock, manualClock } from '../../src/testing/manual-clock.ts'

const away = new Error('away')

function make(random = 1): { breakers: Breakers; clock: ManualClock; changes: string[] } {
  const clock = manualClock()
  const changes: string[] = []
  const backoff = { firstMs: 1000, longestMs: 30_000 }
  const breakers = createBreakers({
    backoff,
    clock,
    random: () => random,
    onChange: (destination, state) => changes.push(`${destination} ${state}`),
  })
  return { breakers, clock, changes }
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
