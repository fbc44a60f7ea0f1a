import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers'
import type { Waker } from '../core/outbox.ts'
import type { ContractCase } from './contract.ts'

/** What an adapter supplies to run the waker suite. */
export interface WakerHarness extends AsyncDisposable {
  readonly waker: Waker
  /** Makes happen what the waker hints at, such as a commit with messages. */
  cause(): Promise<void>
}

/**
 * Makes it happen again and again until the waker has said so: a hint may be late, or miss the very
 * first.
 */
async function untilWoken(harness: WakerHarness, woken: Promise<void>): Promise<void> {
  const answered = woken.then(() => true)
  for (let round = 0; round < 100; round++) {
    await harness.cause()
    const pause = new Promise<false>((resolve) => setTimeout(resolve, 100, false).unref())
    if (await Promise.race([answered, pause])) return
  }
  assert.fail('the waker has not called within 100 causes')
}

/** What every waker must do. */
export const wakerContract: readonly ContractCase<WakerHarness>[] = [
  {
    name: 'it wakes when there may be rows, as often as there are, and resolves when the signal aborts',
    async run(harness) {
      const stop = new AbortController()
      let next = Promise.withResolvers<void>()
      const watching = harness.waker(() => next.resolve(), { signal: stop.signal })
      for (let round = 0; round < 3; round++) {
        await untilWoken(harness, next.promise)
        next = Promise.withResolvers<void>()
      }
      stop.abort()
      await watching
    },
  },
  {
    name: 'it does not wake after it has resolved',
    async run(harness) {
      const stop = new AbortController()
      let ended = false
      let late = 0
      const watching = harness.waker(
        () => {
          if (ended) late++
        },
        { signal: stop.signal },
      )
      stop.abort()
      await watching
      ended = true
      await harness.cause()
      await harness.cause()
      assert.equal(late, 0)
    },
  },
  {
    name: 'it resolves at once when the signal has aborted before, also with a reason',
    async run(harness) {
      await harness.waker(() => {}, { signal: AbortSignal.abort(new Error('stopped')) })
    },
  },
  {
    name: 'two that listen are both woken, also with the same function',
    async run(harness) {
      const stop = new AbortController()
      const stopFirst = new AbortController()
      let next = Promise.withResolvers<void>()
      const wake = (): void => next.resolve()
      const first = harness.waker(wake, { signal: stopFirst.signal })
      const second = harness.waker(wake, { signal: stop.signal })
      await untilWoken(harness, next.promise)
      stopFirst.abort()
      await first
      next = Promise.withResolvers<void>()
      await untilWoken(harness, next.promise)
      stop.abort()
      await second
    },
  },
]
