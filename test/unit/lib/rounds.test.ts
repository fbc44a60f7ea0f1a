import { describe, expect, test } from 'vitest'
import { rounds } from '../../../src/lib/async/rounds.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'

/** Goes its rounds until `stop`; `at` says when. */
function walker(onRound: () => void = () => {}) {
  const clock = manualClock()
  const over = new AbortController()
  const at: number[] = []
  const mine = rounds(clock, 1000, () => 0.5)
  const walking = (async () => {
    for (;;) {
      await mine.next(over.signal)
      if (over.signal.aborted) return
      at.push(clock.monotonic())
      onRound()
    }
  })()
  const stop = async (): Promise<void> => {
    over.abort()
    await walking
  }
  return { clock, at, rounds: mine, stop }
}

describe('rounds', () => {
  test('come regularly, and end at once', async () => {
    const { clock, at, stop } = walker()
    await clock.advance(3500)
    expect(at).toEqual([1000, 2000, 3000])
    await stop()
  })

  test('come at once, and then sooner than usual, when something has changed', async () => {
    const walk = walker()
    await walk.clock.advance(1300)
    walk.rounds.hurry()
    await walk.clock.advance(3500)
    expect(walk.at).toEqual([1000, 1300, 1350, 1450, 1650, 2050, 2850, 3850])
    await walk.stop()
  })

  test('make no busy loop of something that changes in each of them', async () => {
    const walk = walker(() => walk.rounds.hurry())
    await walk.clock.advance(10_000)
    expect(walk.at.length).toBeLessThan(50)
    await walk.stop()
  })
})
