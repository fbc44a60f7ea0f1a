import { expect, test } from 'vitest'
import { manualClock } from '../../../src/testing/manual-clock.ts'

test('time moves only by advance, on both clocks', async () => {
  const clock = manualClock({ startAt: 1000 })
  const before = clock.monotonic()
  await new Promise((resolve) => setImmediate(resolve))
  expect([clock.now(), clock.monotonic()]).toEqual([1000, before])
  await clock.advance(250)
  expect([clock.now(), clock.monotonic()]).toEqual([1250, before + 250])
})

test('sleepers wake in the order of their times, each seeing its own time', async () => {
  const clock = manualClock({ startAt: 0 })
  const log: string[] = []
  const nap = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms)
    log.push(`${name} at ${clock.now()}`)
  }
  const naps = [nap('c', 30), nap('a', 10), nap('b', 20), nap('b2', 20), nap('late', 1000)]
  expect(clock.sleeping).toBe(5)
  await clock.advance(500)
  expect(log).toEqual(['a at 10', 'b at 20', 'b2 at 20', 'c at 30'])
  expect([clock.now(), clock.sleeping]).toEqual([500, 1])
  await clock.advance(500)
  await Promise.all(naps)
})

test('what is let sleep again within the span is woken in the same span', async () => {
  const clock = manualClock()
  let ticks = 0
  const ticking = (async () => {
    while (ticks < 5) {
      await clock.sleep(10)
      ticks++
    }
  })()
  await clock.advance(35)
  expect(ticks).toBe(3)
  await clock.advance(15)
  await ticking
})

test('an aborted signal ends a sleep at once and leaves no sleeper', async () => {
  const clock = manualClock()
  const stop = new AbortController()
  const sleeping = clock.sleep(1000, stop.signal)
  stop.abort()
  await sleeping
  await clock.sleep(1000, stop.signal)
  expect([clock.sleeping, clock.monotonic()]).toEqual([0, 0])
})

test('calls of advance queue up, and nonsense is refused', async () => {
  const clock = manualClock({ startAt: 0 })
  await Promise.all([clock.advance(10), clock.advance(20)])
  expect(clock.now()).toBe(30)
  for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => clock.advance(ms)).toThrow(RangeError)
})
