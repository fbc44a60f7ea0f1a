import { describe, expect, test } from 'vitest'
import { type Looked, Window } from '../../../../src/transports/postgres/window.ts'

/** A look as the window plans it, which ended like this. */
function look(
  window: Window,
  [startedAt, endedAt]: readonly [number, number],
  ended: Partial<Looked> = {},
): void {
  window.looked({
    stretch: window.plan(startedAt),
    upTo: undefined,
    end: 500n,
    highest: undefined,
    startedAt,
    endedAt,
    ...ended,
  })
}

describe('the window of a queue', () => {
  test('a full look is followed by looks from its end, for nine times as long as it took', () => {
    const window = new Window()
    expect(window.plan(0)).toEqual({ from: 0n, rows: undefined, full: false })
    look(window, [0, 10])
    expect(window.plan(99)).toEqual({ from: 501n, rows: undefined, full: false })
    expect(window.plan(100)).toEqual({ from: 0n, rows: undefined, full: true })
  })

  test('a look that filled the hands is continued behind the last one that was taken', () => {
    const window = new Window()
    look(window, [0, 10], { highest: 20n })
    expect(window.plan(11).from).toBe(21n)
  })

  test('what lies below is looked for again, though not at once; a quick full look comes back quickly', () => {
    const window = new Window()
    look(window, [0, 10])
    expect(window.fullAt).toBe(Infinity)
    look(window, [11, 12], { end: 600n })
    expect(window.fullAt).toBe(100)
    look(window, [100, 100.1], { end: 600n })
    window.wantFull()
    expect(window.fullAt).toBeCloseTo(101)
  })

  test('however long a full look took, the next one comes within seconds', () => {
    const window = new Window()
    look(window, [0, 60_000], { end: 1n })
    expect(window.plan(65_000).full).toBe(true)
  })

  test('P8: when whole looks take long, the next full one goes in stretches, and what is new is looked at between them', () => {
    const window = new Window()
    look(window, [0, 300], { end: 100_000n })
    expect(window.plan(2000)).toEqual({ from: 0n, rows: 2000, full: true })
    look(window, [2000, 2010], { end: 100_000n, upTo: 2001n })
    expect(window.front()).toEqual({ from: 100_001n, rows: 2000, full: false })
    expect(window.plan(2050)).toEqual(window.front())
    expect(window.fullAt).toBe(2100)
    expect(window.plan(2100)).toEqual({ from: 2001n, rows: 2000, full: true })
  })

  test('stretches grow while they are quick, shrink while they are slow, and end when one reaches the end', () => {
    const window = new Window()
    look(window, [0, 300], { end: 100_000n })
    look(window, [2000, 2002], { end: 100_000n, upTo: 2001n })
    expect(window.plan(3000)).toEqual({ from: 2001n, rows: 4000, full: true })
    look(window, [3000, 3030], { end: 100_000n, upTo: 6001n })
    expect(window.plan(5000)).toEqual({ from: 6001n, rows: 2000, full: true })
    look(window, [5000, 5010], { end: 100_000n })
    expect(window.plan(7000)).toEqual({ from: 0n, rows: 2000, full: true })
    look(window, [7000, 7010], { end: 900n })
    expect(window.plan(8000)).toEqual({ from: 0n, rows: undefined, full: true })
  })

  test('a stretch that finds enough to fill the hands makes the next looks go on behind it', () => {
    const window = new Window()
    look(window, [0, 300], { end: 100_000n })
    look(window, [2000, 2010], { end: 100_000n, upTo: 2001n, highest: 1500n })
    expect(window.plan(2011)).toEqual({ from: 1501n, rows: undefined, full: false })
    expect(window.plan(2100)).toEqual({ from: 0n, rows: undefined, full: true })
  })
})
