import { expect, test } from 'vitest'
import { notifier } from '../../../../src/sql/postgres/notifier.ts'
import { nextTurn } from '../../../../src/lib/async/turn.ts'
import { manualClock } from '../../../../src/testing/manual-clock.ts'

function bell() {
  const clock = manualClock()
  const rings: number[] = []
  const notifies = notifier(async () => void rings.push(clock.monotonic()), clock)
  return { clock, rings, notifies }
}

test('calls that come one by one ring at once', async () => {
  const { clock, rings, notifies } = bell()
  for (let call = 0; call < 10; call++) {
    notifies.notify()
    await nextTurn()
    await clock.advance(1)
  }
  expect(rings).toHaveLength(10)
})

test('of many calls each ring stands for those of ten milliseconds, and the last one is not forgotten', async () => {
  const { clock, rings, notifies } = bell()
  const startedAt = clock.monotonic()
  for (let call = 0; call < 1000; call++) {
    notifies.notify()
    await nextTurn()
    if (call % 10 === 9) await clock.advance(1)
  }
  const many = rings.filter((at) => at - startedAt >= 20)
  expect(many.length).toBeGreaterThanOrEqual(7)
  expect(many.length).toBeLessThanOrEqual(9)
  const last = clock.monotonic()
  notifies.notify()
  await clock.advance(10)
  expect(rings.at(-1)).toBeGreaterThanOrEqual(last)
})

test('a caller rings in place of the bell only while that would ring at once', async () => {
  const clock = manualClock()
  let answer = Promise.withResolvers<void>()
  let rings = 0
  const notifies = notifier(async () => {
    rings++
    await answer.promise
  }, clock)
  expect(notifies.along()).toBe(true)
  notifies.notify()
  expect([rings, notifies.along()]).toEqual([1, false])
  answer.resolve()
  await nextTurn()
  const along = Array.from({ length: 20 }, () => notifies.along())
  expect(along.filter((rang) => rang).length).toBeLessThan(16)
  expect(along.at(-1)).toBe(false)
  answer = Promise.withResolvers()
  notifies.notify()
  await clock.advance(10)
  expect(rings).toBe(2)
  answer.resolve()
  await notifies[Symbol.asyncDispose]()
  expect(notifies.along()).toBe(false)
})
