import { expect, test } from 'vitest'
import type { ClaimedMessage } from '../../src/core/outbox.ts'
import type { PublishOutcome } from '../../src/core/transport.ts'
import { createAgenda } from '../../src/outbox/agenda.ts'
import { relaySettings } from '../../src/outbox/options.ts'
import { createScan } from '../../src/outbox/scan.ts'
import { type Circumstances, settlementOf } from '../../src/outbox/settle-policy.ts'
import { createUnknowns } from '../../src/outbox/unknowns.ts'
import { confirmed, message, refusedForGood, refusedOnce, unavailable, unknown } from './relay-support.ts'

const settings = relaySettings({ maxAttempts: 3, claimMs: 15_000, retry: { firstMs: 1000, longestMs: 300_000 } })

function decide(outcome: PublishOutcome, more: Partial<Circumstances> & { readonly attempt?: number; readonly key?: string } = {}): object {
  const { attempt = 1, key, ...circumstances } = more
  const row: ClaimedMessage = { message: message('m', key === undefined ? {} : { key }), position: 7n, token: 't', attempt }
  return settlementOf(row, outcome, { settings, random: () => 1, express: false, unansweredForMs: undefined, ...circumstances })
}

test('a confirm is sent', () => {
  expect(decide(confirmed)).toEqual({ kind: 'sent', position: 7n, token: 't' })
})

test('a destination that does not answer charges no attempt, however many there were', () => {
  for (const outcome of [unavailable, unknown]) {
    expect(decide(outcome, { attempt: 100 })).toEqual({ kind: 'release', position: 7n, token: 't', delayMs: 1000 })
  }
})

test('a refusal is retried with a growing delay until the attempts are used up', () => {
  expect(decide(refusedOnce, { attempt: 1 })).toMatchObject({ kind: 'retry', delayMs: 1000 })
  expect(decide(refusedOnce, { attempt: 2 })).toMatchObject({ kind: 'retry', delayMs: 2000 })
  expect(decide(refusedOnce, { attempt: 3 })).toMatchObject({ kind: 'dead', reason: 'refused', maybePublished: false })
  expect(decide(refusedForGood, { attempt: 1 })).toMatchObject({ kind: 'dead', reason: 'unroutable' })
})

test('a dead message holds back its key or not as told; without a key it holds back nothing', () => {
  const skipping = { ...settings, onDead: 'skip' as const }
  expect(decide(refusedForGood, { key: 'k' })).toMatchObject({ onDead: 'block-key' })
  expect(decide(refusedForGood, { key: 'k', settings: skipping })).toMatchObject({ onDead: 'skip' })
  expect(decide(refusedForGood)).toMatchObject({ onDead: 'skip' })
})

test('in the express lane everything but a confirm goes to the claim road', () => {
  for (const outcome of [refusedOnce, refusedForGood, unavailable, unknown]) {
    expect(decide(outcome, { express: true, attempt: 0 })).toMatchObject({ kind: 'release' })
  }
})

test("under 'skip' a keyed message waits one claim time after an attempt without an answer, uncharged", () => {
  const skip = { settings: { ...settings, onDead: 'skip' as const }, key: 'k' }
  expect(decide(refusedForGood, { ...skip, unansweredForMs: 4000 })).toMatchObject({ kind: 'release', delayMs: 11_000 })
  expect(decide(refusedForGood, { ...skip, unansweredForMs: 15_000 })).toMatchObject({ kind: 'dead', maybePublished: true })
  expect(decide(refusedForGood, { key: 'k', unansweredForMs: 4000 })).toMatchObject({
    kind: 'dead',
    onDead: 'block-key',
    maybePublished: true,
  })
})

test('attempts above the limit are claims that nobody gave back, so the broker may hold the message', () => {
  expect(decide(refusedOnce, { attempt: 4 })).toMatchObject({ kind: 'dead', maybePublished: true })
})

test('P10: however slow a full scan is, the next one may run a second later, since only it finds the rows of a dead relay', () => {
  const scan = createScan()
  scan.found({ from: undefined, startedAt: 0, endedAt: 2000, highest: 5n, full: false })
  scan.wantFull()
  expect(scan.fullAt).toBe(3000)
  scan.found({ from: undefined, startedAt: 3000, endedAt: 3010, highest: 5n, full: false })
  scan.wantFull()
  expect(scan.fullAt).toBe(3100)
})

test('a scan starts at the highest position seen, and from the bottom for at most a tenth of the time', () => {
  const scan = createScan()
  expect(scan.plan(0)).toBeUndefined()
  scan.found({ from: undefined, startedAt: 0, endedAt: 10, highest: 500n, full: true })
  expect(scan.plan(10)).toBe(500n)
  scan.found({ from: 500n, startedAt: 10, endedAt: 12, highest: 700n, full: false })
  expect(scan.fullAt).toBe(100)
  expect(scan.plan(50)).toBe(700n)
  expect(scan.plan(100)).toBeUndefined()
  scan.found({ from: undefined, startedAt: 100, endedAt: 110, highest: undefined, full: false })
  expect(scan.fullAt).toBe(Infinity)
  scan.forceFull()
  expect(scan.plan(111)).toBeUndefined()
  scan.wantFull()
  expect(scan.fullAt).toBe(200)
})

test('the agenda names the earliest time, and forgets those that have passed', () => {
  const agenda = createAgenda()
  expect(agenda.next).toBe(Infinity)
  agenda.add(120)
  agenda.add(1000)
  agenda.add(110)
  expect(agenda.next).toBe(150)
  expect(agenda.take(149)).toBe(false)
  expect(agenda.take(150)).toBe(true)
  expect(agenda.next).toBe(1000)
  for (let at = 2000; at < 2_000_000; at += 50) agenda.add(at)
  expect(agenda.take(1_999_999)).toBe(true)
  expect(agenda.next).toBe(Infinity)
})

test('attempts without an answer are remembered for a bounded number of messages', () => {
  const unknowns = createUnknowns()
  for (let position = 0n; position < 10_001n; position++) unknowns.note(position, Number(position))
  expect(unknowns.last(0n)).toBeUndefined()
  expect(unknowns.last(1n)).toBe(1)
  unknowns.forget(1n)
  expect(unknowns.last(1n)).toBeUndefined()
})
