import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  listen,
  message,
  moment,
  PASSED_MS,
  publish,
  SHORT_MS,
  toQueue,
  type TransportHarness,
} from './harness.ts'

/** A handler asks for its message again later, which is no failure. */
export const wishCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'a wish for later charges no attempt, and every later delivery knows since when it is wished for',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      await publish(transport, message('1', toQueue(queue)))
      await using inbox = await listen(transport, queue)
      const postponedSince = 1_700_000_000_123
      const error = new Error('not yet')
      const first = await inbox.next()
      assert.equal(first.delivery.postponedSince, undefined)
      first.answer({ kind: 'retry', delayMs: 0, error, postponedSince })
      const second = await inbox.next()
      assert.deepEqual(
        [second.delivery.attempt, second.delivery.postponedSince],
        [1, postponedSince],
      )
      second.answer({ kind: 'retry', delayMs: SHORT_MS, error, postponedSince })
      await moment()
      await harness.elapse(PASSED_MS)
      const third = await inbox.next()
      assert.deepEqual([third.delivery.attempt, third.delivery.postponedSince], [1, postponedSince])
      third.answer({ kind: 'retry', delayMs: 0, error })
      const fourth = await inbox.next()
      assert.deepEqual(
        [fourth.label, fourth.delivery.attempt, fourth.delivery.postponedSince],
        ['1', 2, postponedSince],
      )
      fourth.answer({ kind: 'ack' })
    },
  },
]
