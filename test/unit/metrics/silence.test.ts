import { expect, test } from 'vitest'
import { traced } from '../../../src/core/traced.ts'
import { watchSilence } from '../../../src/metrics/silence.ts'

/** A relay whose database answers when the test says so. */
function relay(app = 'relay') {
  let now = 0
  const silence = watchSilence(() => now)
  const ask = (name: 'claim' | 'settle') => {
    const answer = Promise.withResolvers<void>()
    const facts = name === 'claim' ? { app, limit: 1 } : { app, messages: 1 }
    const asked = traced(
      name,
      () => facts as never,
      () => answer.promise,
    ).catch(() => {})
    return {
      async succeeds() {
        answer.resolve()
        await asked
      },
      async fails() {
        answer.reject(new Error('no'))
        await asked
      },
    }
  }
  return {
    silence,
    ask,
    after: (ms: number) => {
      now += ms
      return silence.silentMs(app)
    },
    [Symbol.dispose]: () => silence[Symbol.dispose](),
  }
}

test('a database is silent from the first call that it does not answer, not from the last claim', async () => {
  using one = relay()
  expect(one.after(1000)).toBeUndefined()
  await one.ask('claim').succeeds()
  expect(one.after(60_000)).toBe(0)
  const claim = one.ask('claim')
  expect(one.after(5000)).toBe(5000)
  await claim.succeeds()
  expect(one.after(5000)).toBe(0)
})

test('failures are no answer, also those of settlements, until a claim succeeds', async () => {
  using one = relay()
  await one.ask('claim').succeeds()
  await one.ask('settle').fails()
  await one.ask('settle').fails()
  expect(one.after(3000)).toBe(3000)
  await one.ask('claim').fails()
  expect(one.after(3000)).toBe(6000)
  await one.ask('claim').succeeds()
  expect(one.after(3000)).toBe(0)
  await one.ask('settle').fails()
  one.after(1000)
  await one.ask('settle').succeeds()
  expect(one.after(1000)).toBe(0)
})

test('of other relays nothing is known', async () => {
  using one = relay('one')
  using two = relay('two')
  await one.ask('claim').succeeds()
  expect([one.after(1), two.after(1)]).toEqual([0, undefined])
})
