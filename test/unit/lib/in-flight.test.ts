import { expect, test } from 'vitest'
import { inFlight } from '../../../src/lib/async/in-flight.ts'

test('idle() resolves at once while nothing is in progress', async () => {
  await inFlight().idle()
})

test('idle() resolves when the last one has left, and not before', async () => {
  const flight = inFlight()
  flight.enter(2)
  let idle = false
  const waiting = flight.idle().then(() => (idle = true))
  flight.leave()
  await Promise.resolve()
  expect([flight.count, idle]).toEqual([1, false])
  flight.leave()
  await waiting
  expect([flight.count, idle]).toEqual([0, true])
})

test('work counts while it runs, also when it fails', async () => {
  const flight = inFlight()
  const gate = Promise.withResolvers<void>()
  const failing = flight.run(() => gate.promise)
  expect(flight.count).toBe(1)
  gate.reject(new Error('no'))
  await expect(failing).rejects.toThrow('no')
  expect(flight.count).toBe(0)
  await flight.idle()
})

test('whoever waits is told once, and may wait again for what comes later', async () => {
  const flight = inFlight()
  flight.enter()
  const first = flight.idle()
  flight.leave()
  await first
  flight.enter()
  let again = false
  const second = flight.idle().then(() => (again = true))
  await Promise.resolve()
  expect(again).toBe(false)
  flight.leave()
  await second
})
