import { describe, expect, test } from 'vitest'
import type { ClaimedMessage } from '../../../src/core/outbox.ts'
import type { PublishOutcome } from '../../../src/core/transport.ts'
import { createLater } from '../../../src/outbox/claim/looks.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import { createScan, type Found, type Look } from '../../../src/outbox/claim/scan.ts'
import { type Circumstances, settlementOf } from '../../../src/outbox/settle/settle-policy.ts'
import { createUnanswered } from '../../../src/outbox/settle/unanswered.ts'
import { confirmed, message, refusedForGood, refusedOnce, unavailable, unknown } from './support.ts'

const settings = relaySettings({
  maxAttempts: 3,
  claimMs: 15_000,
  retry: { firstMs: 1000, longestMs: 300_000 },
})

function decide(
  outcome: PublishOutcome,
  more: Partial<Circumstances> & { readonly attempt?: number; readonly key?: string } = {},
): object {
  const { attempt = 1, key, ...circumstances } = more
  const row: ClaimedMessage = {
    message: message('m', key === undefined ? {} : { key }),
    position: 7n,
    token: 't',
    attempt,
  }
  return settlementOf(row, outcome, {
    settings,
    random: () => 1,
    express: false,
    unansweredForMs: undefined,
    ...circumstances,
  })
}

test('a confirm is sent', () => {
  expect(decide(confirmed)).toEqual({ kind: 'sent', position: 7n, token: 't' })
})

test('a destination that does not answer charges no attempt, however many there were', () => {
  for (const outcome of [unavailable, unknown]) {
    expect(decide(outcome, { attempt: 100 })).toEqual({
      kind: 'release',
      position: 7n,
      token: 't',
      delayMs: 1000,
    })
  }
})

test('a refusal is retried with a growing delay until the attempts are used up', () => {
  expect(decide(refusedOnce, { attempt: 1 })).toMatchObject({ kind: 'retry', delayMs: 1000 })
  expect(decide(refusedOnce, { attempt: 2 })).toMatchObject({ kind: 'retry', delayMs: 2000 })
  expect(decide(refusedOnce, { attempt: 3 })).toMatchObject({
    kind: 'dead',
    reason: 'refused',
    maybePublished: false,
  })
  expect(decide(refusedForGood, { attempt: 1 })).toMatchObject({
    kind: 'dead',
    reason: 'unroutable',
  })
})

test('a dead message holds back its key or not as told; without a key it holds back nothing', () => {
  const skipping = { ...settings, onDead: 'skip' as const }
  expect(decide(refusedForGood, { key: 'k' })).toMatchObject({ onDead: 'block-key' })
  expect(decide(refusedForGood, { key: 'k', settings: skipping })).toMatchObject({ onDead: 'skip' })
  expect(decide(refusedForGood)).toMatchObject({ onDead: 'skip' })
})

test('in the express lane everything but a confirm leaves the message to the claims', () => {
  for (const outcome of [refusedOnce, refusedForGood, unavailable, unknown]) {
    expect(decide(outcome, { express: true, attempt: 0 })).toMatchObject({ kind: 'release' })
  }
})

test("under 'skip' a keyed message waits one claim time after an attempt without an answer, uncharged", () => {
  const skip = { settings: { ...settings, onDead: 'skip' as const }, key: 'k' }
  expect(decide(refusedForGood, { ...skip, unansweredForMs: 4000 })).toMatchObject({
    kind: 'release',
    delayMs: 11_000,
  })
  expect(decide(refusedForGood, { ...skip, unansweredForMs: 15_000 })).toMatchObject({
    kind: 'dead',
    maybePublished: true,
  })
  expect(decide(refusedForGood, { key: 'k', unansweredForMs: 4000 })).toMatchObject({
    kind: 'dead',
    onDead: 'block-key',
    maybePublished: true,
  })
})

test('attempts above the limit are claims that nobody gave back, so the broker may hold the message', () => {
  expect(decide(refusedOnce, { attempt: 4 })).toMatchObject({ kind: 'dead', maybePublished: true })
})

/** What a claim found, without what does not matter. */
const found = (
  look: Look,
  startedAt: number,
  endedAt: number,
  rows: readonly bigint[] = [],
  full = false,
): Found => ({
  look,
  startedAt,
  endedAt,
  lowest: rows[0],
  highest: rows.at(-1),
  full,
  stopped: undefined,
})
/** Of a fixed size, so that the looks can be compared. */
const sizes = { sweep: 1000, look: 200 }
const everything: Look = { kind: 'sweep', begins: true, from: 0n, rows: 1000 }
const stretch = (kind: 'front' | 'on' | 'tail', from: bigint): Look => ({ kind, from, rows: 200 })

describe('where a claim looks', () => {
  test('P10: however slow a full scan is, the next one may run a second later, since only it finds the rows of a dead relay', () => {
    const scan = createScan(sizes)
    scan.found(found(everything, 0, 2000, [5n]))
    scan.wantFull()
    expect(scan.plan(2999).kind).not.toBe('sweep')
    expect(scan.plan(3000)).toEqual(everything)
    scan.found(found(everything, 3000, 3010, [5n]))
    expect(scan.plan(3100)).toEqual(everything)
  })

  test('is everything for at most a tenth of the time; else it is where new rows come', () => {
    const scan = createScan(sizes)
    expect(scan.plan(0)).toEqual(everything)
    scan.found(found(everything, 0, 10, [1n, 500n]))
    expect(scan.nextAt).toBe(Infinity)
    expect(scan.plan(10)).toEqual(stretch('tail', 500n))
    scan.found(found(stretch('tail', 500n), 10, 12, [600n, 700n]))
    expect(scan.nextAt).toBe(100) // it saw a stretch only
    expect(scan.plan(50)).toEqual(stretch('tail', 700n))
    expect(scan.plan(100)).toEqual(everything)
    scan.found(found(everything, 100, 110))
    expect(scan.nextAt).toBe(Infinity)
    scan.forceFull()
    expect(scan.plan(111)).toEqual(everything)
  })

  test('is behind the claim before if that one was full, wherever it was', () => {
    const scan = createScan(sizes)
    scan.found(found(everything, 0, 10, [1n, 500n], true))
    expect(scan.plan(11)).toEqual(stretch('on', 500n))
    scan.found(found(stretch('on', 500n), 11, 12, [501n, 900n], true))
    expect(scan.plan(13)).toEqual(stretch('on', 900n))
    scan.found(found(stretch('on', 900n), 13, 14))
    expect(scan.plan(15)).toEqual(stretch('tail', 900n))
  })

  test('is where rows were free lately, when rows have been settled that held back others, for at most a quarter of the time', () => {
    const scan = createScan(sizes)
    scan.found(found(everything, 0, 100, [40n, 500n]))
    scan.wantFull()
    expect(scan.nextAt).toBe(0)
    const front = stretch('front', 40n)
    expect(scan.plan(110)).toEqual(front)
    scan.found(found(front, 110, 114, [41n, 90n]))
    scan.wantFull()
    expect(scan.nextAt).toBe(126)
    expect(scan.plan(125)).toEqual(stretch('tail', 500n)) // a low row does not take it back
    expect(scan.plan(126)).toEqual(front)
    // As long as it is full it goes on there at once: the rows before it are gone or in hand.
    scan.found(found(front, 126, 130, [91n, 95n], true))
    expect(scan.plan(130)).toEqual(front)
  })

  test('is everything when full scans are quick: another look in between would only cost', () => {
    const scan = createScan(sizes)
    scan.found(found(everything, 0, 2, [40n, 500n]))
    scan.wantFull()
    expect(scan.nextAt).toBe(20)
    expect(scan.plan(20)).toEqual(everything)
  })
})

describe('in an outbox that takes several stretches', () => {
  const stopAt = (next: bigint) => ({ next, last: 9000n })
  const sweep = (from: bigint): Look => ({ kind: 'sweep', begins: from === 0n, from, rows: 1000 })

  test('a sweep goes on where it stopped, at a fifth of the time, with a look at the tail after each stretch', () => {
    const scan = createScan(sizes)
    expect(scan.plan(0)).toEqual(sweep(0n))
    scan.found({ ...found(sweep(0n), 0, 10), stopped: stopAt(1001n) })
    expect(scan.nextAt).toBe(-Infinity)
    expect(scan.plan(10)).toEqual(stretch('tail', 9000n))
    scan.found(found(stretch('tail', 9000n), 10, 11))
    expect(scan.nextAt).toBe(50)
    expect(scan.plan(50)).toEqual(sweep(1001n))
    scan.found(found(sweep(1001n), 50, 60)) // the end
    expect(scan.plan(60).kind).toBe('tail')
    scan.found(found(stretch('tail', 9000n), 60, 61))
    expect(scan.plan(240)).toEqual(sweep(0n)) // 20 ms of work, and nine times as much went by
  })

  test('a sweep behind one that was full begins with a stretch as short as that of other looks', () => {
    const scan = createScan(sizes)
    scan.found({ ...found(scan.plan(0), 0, 10, [1n, 500n], true), stopped: stopAt(1001n) })
    scan.forceFull()
    const short: Look = { kind: 'sweep', begins: true, from: 0n, rows: 200 }
    expect(scan.plan(10)).toEqual(short)
    scan.found({ ...found(short, 10, 20), stopped: stopAt(201n) })
    expect(scan.plan(20).kind).toBe('tail')
    expect(scan.plan(1000)).toEqual(sweep(201n)) // nothing was found there: it goes on as ever
  })

  test('the sweep that proves that nothing is left waits until no look is full', () => {
    const scan = createScan(sizes)
    scan.found({ ...found(scan.plan(0), 0, 10, [1n, 500n], true), stopped: stopAt(1001n) })
    scan.prove()
    expect(scan.plan(10)).toEqual(stretch('on', 500n))
    scan.found({ ...found(stretch('on', 500n), 10, 20, [501n, 700n], true), stopped: stopAt(900n) })
    expect(scan.plan(20)).toEqual(stretch('on', 700n))
    scan.found(found(stretch('on', 700n), 20, 30, [701n]))
    expect(scan.nextAt).toBe(-Infinity)
    expect(scan.plan(30)).toEqual({ kind: 'sweep', begins: true, from: 0n, rows: 200 })
  })

  test('a claim that fails takes nothing from the tail, and the sweep goes on in shorter stretches', () => {
    const scan = createScan({ look: 200 })
    const first = scan.plan(0)
    scan.found({ ...found(first, 0, 10), stopped: stopAt(10_001n) })
    scan.found(found(scan.plan(10), 10, 11))
    const second = scan.plan(50)
    expect(second).toMatchObject({ kind: 'sweep', from: 10_001n })
    scan.failed(second, 50, 10_050)
    expect(scan.plan(10_050).kind).toBe('tail')
    const third = scan.plan(11_050)
    expect(third).toMatchObject({ kind: 'sweep', from: 10_001n, begins: false })
    expect((third as { rows: number }).rows).toBeLessThan((second as { rows: number }).rows / 2)
  })

  test('a sweep that is forced while one is under way does not begin anew before that one has seen everything', () => {
    const scan = createScan(sizes)
    scan.found({ ...found(scan.plan(0), 0, 10), stopped: stopAt(1001n) })
    scan.forceFull()
    expect(scan.plan(10).kind).toBe('tail')
    expect(scan.plan(11)).toEqual(sweep(1001n))
    scan.forceFull()
    scan.found(found(sweep(1001n), 11, 21))
    expect(scan.plan(21).kind).toBe('tail')
    expect(scan.plan(22)).toEqual(sweep(0n))
  })

  test('the tail begins where it ended a second ago, for transactions that commit late', () => {
    const scan = createScan(sizes)
    scan.found({ ...found(scan.plan(0), 0, 10), stopped: stopAt(1001n) })
    scan.found(found(scan.plan(10), 10, 11, [9050n, 9100n]))
    expect(scan.plan(20)).toEqual(stretch('tail', 9000n))
    scan.found({ ...found(stretch('tail', 9000n), 20, 21), stopped: { next: 9300n, last: 9400n } })
    expect(scan.plan(22)).toEqual(stretch('tail', 9300n)) // it goes on
    scan.found(found(stretch('tail', 9300n), 22, 23))
    expect(scan.plan(49)).toEqual(stretch('tail', 9000n))
    const later = createScan(sizes)
    later.found({ ...found(later.plan(0), 0, 10), stopped: stopAt(1001n) })
    later.found(found(later.plan(10), 10, 11, [9100n]))
    expect(later.plan(1100).kind).toBe('sweep')
    later.found({ ...found(sweep(1001n), 1100, 1110), stopped: stopAt(2001n) })
    expect(later.plan(1111)).toEqual(stretch('tail', 9100n))
  })

  test('the next rows of a key that was settled are looked for by their key', () => {
    const scan = createScan(sizes)
    scan.follow('too early') // a small outbox is swept at once
    expect(scan.plan(0)).toEqual(sweep(0n))
    scan.found({ ...found(sweep(0n), 0, 10), stopped: stopAt(1001n) })
    scan.follow('k')
    scan.follow('k')
    scan.follow('l')
    expect(scan.plan(10).kind).toBe('tail')
    expect(scan.plan(11)).toEqual({ kind: 'keys', keys: ['k', 'l'] })
    expect(scan.plan(12).kind).toBe('tail')
  })
})

test('the times of what falls due later: the earliest one is known, and those that have passed are forgotten', () => {
  const later = createLater()
  expect(later.next).toBe(Infinity)
  later.add(120, 7n)
  later.add(1000, 9n)
  later.add(110, 8n)
  expect(later.next).toBe(150)
  expect(later.take(149)).toBe(undefined)
  expect(later.take(150)).toBe(7n)
  expect(later.next).toBe(1000)
  for (let at = 2000; at < 2_000_000; at += 50) later.add(at, 3n)
  expect(later.take(1_999_999)).toBe(3n)
  expect(later.next).toBe(Infinity)
})

test('attempts without an answer are remembered for a bounded number of messages', () => {
  const unanswered = createUnanswered()
  for (let position = 0n; position < 10_001n; position++)
    unanswered.note(position, Number(position))
  expect(unanswered.last(0n)).toBeUndefined()
  expect(unanswered.last(1n)).toBe(1)
  unanswered.forget(1n)
  expect(unanswered.last(1n)).toBeUndefined()
})
