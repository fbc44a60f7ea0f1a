import { describe, expect, test } from 'vitest'
import { ObservedPromise, observe } from '../../../src/lib/async/observed.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a promise that knows whether it was looked at', () => {
  test('is not looked at by itself, by void, or by being quietened', async () => {
    const promise = observe(Promise.resolve(1))
    const failing = observe(Promise.reject(new Error('nobody looks')))
    failing.quieten()
    void promise
    await turn()
    expect([promise.observed, failing.observed]).toEqual([false, false])
  })

  const ways: Record<string, (promise: Promise<number>) => Promise<unknown>> = {
    await: async (promise) => void (await promise),
    return: async (promise) => promise,
    'then()': (promise) => promise.then(() => {}),
    'catch, awaited': async (promise) => void (await promise.catch(() => {})),
    'catch after catch, awaited': async (promise) =>
      void (await promise.catch(() => {}).catch(() => {})),
    finally: (promise) => promise.finally(() => {}),
    'Promise.all': (promise) => Promise.all([promise, Promise.resolve(2)]),
    'Promise.allSettled': (promise) => Promise.allSettled([promise]),
    'Promise.race': (promise) => Promise.race([promise, new Promise(() => {})]),
    'Promise.resolve': (promise) => Promise.resolve(promise).then(() => {}),
  }
  for (const [what, look] of Object.entries(ways)) {
    test(`${what} is a look`, async () => {
      const promise = observe(Promise.resolve(1))
      await look(promise)
      expect(promise.observed).toBe(true)
    })
  }

  test('catch alone is no look, since it does not wait', async () => {
    const promise = observe(Promise.resolve(1))
    const caught = promise.catch(() => {})
    await turn()
    expect(promise.observed).toBe(false)
    expect(await caught).toBe(1)
    expect(promise.observed).toBe(true)
    expect(await observe(Promise.reject(new Error('no'))).catch(() => 'caught')).toBe('caught')
  })

  test('what it derives are plain promises with the same result', async () => {
    const promise = observe(Promise.resolve(1))
    expect(promise).toBeInstanceOf(ObservedPromise)
    expect(promise.then(() => 2)).not.toBeInstanceOf(ObservedPromise)
    expect(await promise.then((value) => value + 1)).toBe(2)
    await expect(observe(Promise.reject(new Error('same')))).rejects.toThrow('same')
  })
})
