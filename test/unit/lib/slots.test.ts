import { expect, test } from 'vitest'
import { linkAbort } from '../../../src/lib/async/linked-abort.ts'
import { slots } from '../../../src/lib/async/slots.ts'

test('a place goes to the first who waits, and who gives up leaves the line', async () => {
  const places = slots(1)
  const [signal, link] = [new AbortController(), linkAbort()]
  expect(await places.take(signal.signal)).toBe(true)
  const waiting = [signal.signal, link, linkAbort()].map((stopping) => places.take(stopping))
  signal.abort()
  link.abort('enough')
  expect(await Promise.all(waiting.slice(0, 2))).toEqual([false, false])
  expect(places.taken).toBe(1)
  places.giveBack()
  expect(await waiting[2]).toBe(true)
  places.giveBack()
  expect(places.taken).toBe(0)
})

test('who has given up before gets no place', async () => {
  const places = slots(1)
  expect(await places.take(AbortSignal.abort())).toBe(false)
  expect(places.taken).toBe(0)
})
