import { describe, expect, test } from 'vitest'
import { confirmBook, type ConfirmBook } from '../../../src/transports/shared/confirm-book.ts'
import { answeredOrStopped, stopOn } from '../../../src/transports/shared/stop.ts'
import { manualClock, type ManualClock } from '../../../src/testing/manual-clock.ts'

interface Entry {
  readonly writtenAt: number
  readonly answers: string[]
}

function book(
  clock: ManualClock,
  late: 'keep' | 'forget' = 'forget',
): { readonly confirms: ConfirmBook<number, Entry>; readonly enter: (key: number) => string[] } {
  const confirms = confirmBook<number, Entry>({
    clock,
    firstLookMs: 100,
    restMs: (_, { writtenAt }, now) => writtenAt + 1000 - now,
    onLate(_, { answers }) {
      answers.push('late')
      return late
    },
  })
  return {
    confirms,
    enter(key) {
      const answers: string[] = []
      confirms.enter(key, { writtenAt: clock.monotonic(), answers })
      return answers
    },
  }
}

describe('a book of confirms', () => {
  test('gives each entry its own time from when it was written', async () => {
    const clock = manualClock()
    const { enter } = book(clock)
    const first = enter(1)
    await clock.advance(600)
    const second = enter(2)
    await clock.advance(399)
    expect([first, second]).toEqual([[], []])
    await clock.advance(1)
    expect([first, second]).toEqual([['late'], []])
    await clock.advance(600)
    expect(second).toEqual(['late'])
  })

  test('looks again after it was empty, and not at all once it is closed', async () => {
    const clock = manualClock()
    const { confirms, enter } = book(clock)
    enter(1)
    expect(confirms.take(1)).toBeDefined()
    await clock.advance(5000)
    const next = enter(2)
    await clock.advance(1000)
    expect(next).toEqual(['late'])
    const last = enter(3)
    confirms.close()
    await clock.advance(5000)
    expect([last, [...confirms.entries()].length]).toEqual([[], 1])
  })

  test('keeps what is late for an answer that still comes, and counts it as idle', async () => {
    const clock = manualClock()
    const { confirms, enter } = book(clock, 'keep')
    const answers = enter(1)
    expect(confirms.idle).toBe(false)
    await clock.advance(3000)
    expect([answers, confirms.idle, confirms.size]).toEqual([['late'], true, 1])
    expect(confirms.take(1)).toBeDefined()
    expect(confirms.take(1)).toBeUndefined()
    expect([confirms.idle, confirms.size]).toEqual([true, 0])
  })
})

describe('what ends the waiting for a confirm', () => {
  test('what was written is unknown; what was taken back is withdrawn', () => {
    const stop = new AbortController()
    const outcomes: unknown[] = []
    const settled = ({ kind, withdrawn }: { kind: string; withdrawn?: boolean }): void =>
      void outcomes.push([kind, withdrawn])
    answeredOrStopped<never>(stopOn(stop.signal), () => undefined, settled)
    answeredOrStopped<never>(stopOn(stop.signal), () => () => true, settled)
    answeredOrStopped<never>(stopOn(stop.signal), () => () => false, settled)
    stop.abort()
    expect(outcomes).toEqual([
      ['unknown', undefined],
      ['unavailable', true],
      ['unknown', undefined],
    ])
  })

  test('withdrawing reaches only what has not been written, and an answer ends the watching', () => {
    const [stop, withdraw] = [new AbortController(), new AbortController()]
    const outcomes: string[] = []
    const settled = ({ kind }: { kind: string }): void => void outcomes.push(kind)
    const both = stopOn(stop.signal, withdraw.signal)
    answeredOrStopped<never>(both, () => undefined, settled)
    answeredOrStopped<never>(both, () => () => true, settled)
    withdraw.abort()
    expect(outcomes).toEqual(['unavailable'])
    stop.abort()
    expect(outcomes).toEqual(['unavailable', 'unknown'])
  })
})
