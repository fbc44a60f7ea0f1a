import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  dead,
  keyed,
  LONG_MS,
  message,
  PASSED_MS,
  type RetentionHarness,
  sent,
  SHORT_MS,
} from './harness.ts'

/** Sent rows that are kept for a while. */
export const retentionCases: readonly ContractCase<RetentionHarness>[] = [
  {
    name: 'a store that keeps nothing has nothing to prune',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('2')])
      const [first] = await claim(store)
      assert.ok(first !== undefined)
      await store.outbox.settle([sent(first)])
      assert.equal(await store.outbox.prune({ limit: 100 }), 0)
      assert.equal((await store.admin.stats()).pending, 1)
    },
  },
  {
    name: 'a kept row is neither open nor claimed nor in the way of its key, and settling it again is stale',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      await commit(store, keyed('k', '1', '2'))
      const [first, second] = await claim(store, { claimMs: SHORT_MS })
      assert.ok(first !== undefined && second !== undefined)
      await store.outbox.settle([
        sent(first),
        { kind: 'release', position: second.position, token: second.token },
      ])
      await harness.elapse(PASSED_MS)
      assert.deepEqual(await store.outbox.settle([sent(first)]), { stale: 1 })
      assert.equal((await store.admin.stats()).pending, 1)
      assert.equal((await claim(store)).length, 1)
      assert.equal(await store.outbox.prune({ limit: 100 }), 0)
    },
  },
  {
    name: 'a confirmed message that is not to be kept leaves no copy, beside others of which one is kept',
    async run(harness) {
      await using store = await harness.openKeeping(SHORT_MS)
      await commit(store, [message('1'), message('2'), message('3')])
      const [first, second, third] = await claim(store)
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      assert.deepEqual(
        await store.outbox.settle([
          sent(first),
          { ...sent(second), kind: 'sent', keep: false },
          sent(third),
        ]),
        { stale: 0 },
      )
      assert.equal((await store.admin.stats()).pending, 0)
      await harness.elapse(PASSED_MS)
      assert.equal(await store.outbox.prune({ limit: 100 }), 2)
    },
  },
  {
    name: 'kept rows are removed when their time is over, at most N at once; open and dead ones stay',
    async run(harness) {
      await using store = await harness.openKeeping(SHORT_MS)
      await commit(store, [
        message('open', { delayMs: LONG_MS }),
        ...['1', '2', '3', '4', '5', '6'].map((label) => message(label)),
      ])
      const [doomed, ...rows] = await claim(store)
      assert.ok(doomed !== undefined)
      await store.outbox.settle([dead(doomed, 'skip'), ...rows.map(sent)])
      await harness.elapse(PASSED_MS)
      assert.equal(await store.outbox.prune({ limit: 2 }), 2)
      assert.equal(await store.outbox.prune({ limit: 100 }), 3)
      assert.equal(await store.outbox.prune({ limit: 100 }), 0)
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.dead], [1, 1])
    },
  },
]
