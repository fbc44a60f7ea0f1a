import assert from 'node:assert/strict'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  dead,
  keyed,
  labels,
  LONG_MS,
  message,
  newToken,
  only,
  type OutboxHarness,
  PASSED_MS,
  release,
  retry,
  sent,
  SHORT_MS,
} from './harness.ts'

const everyKind: readonly ((row: ClaimedMessage) => Settlement)[] = [
  sent,
  (row) => retry(row, 0),
  (row) => release(row),
  (row) => dead(row, 'skip'),
  (row) => dead(row, 'block-key'),
]

/** What became of claimed rows, fenced by position and token. */
export const settleCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'a sent row never comes again, and settling it once more is stale and harmless',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      const row = only(await claim(store, { claimMs: SHORT_MS }))
      assert.deepEqual(await store.outbox.settle([sent(row)]), { stale: 0 })
      assert.deepEqual(await store.outbox.settle([sent(row)]), { stale: 1 })
      await harness.elapse(PASSED_MS)
      assert.deepEqual(await claim(store), [])
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'a refused row comes again after its delay with the attempt counted, and not before',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('soon'), message('later'), message('at once')])
      const [soon, later, atOnce] = await claim(store)
      assert.ok(soon !== undefined && later !== undefined && atOnce !== undefined)
      await store.outbox.settle([retry(soon, SHORT_MS), retry(later, LONG_MS), retry(atOnce, 0)])
      const first = await claim(store)
      await harness.elapse(PASSED_MS)
      const rows = [...first, ...(await claim(store))]
      assert.ok(labels(first).includes('at once'))
      assert.deepEqual(labels(rows).toSorted(), ['at once', 'soon'])
      assert.ok(rows.every(({ attempt }) => attempt === 2))
    },
  },
  {
    name: 'every refusal counts: the attempts of a row rise by one each time',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      for (const attempt of [1, 2, 3, 4]) {
        const row = only(await claim(store))
        assert.equal(row.attempt, attempt)
        await store.outbox.settle([retry(row, 0)])
      }
    },
  },
  {
    name: 'a released row comes again at once, and the attempt is given back',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      await store.outbox.settle([retry(only(await claim(store)), 0)])
      for (const round of [1, 2, 3]) {
        const row = only(await claim(store))
        assert.equal(row.attempt, 2, `round ${round}`)
        assert.deepEqual(await store.outbox.settle([release(row)]), { stale: 0 })
      }
    },
  },
  {
    name: 'a row released with a delay comes again after it, and not before',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('soon'), message('later')])
      const [soon, later] = await claim(store)
      assert.ok(soon !== undefined && later !== undefined)
      await store.outbox.settle([release(soon, SHORT_MS), release(later, LONG_MS)])
      const first = await claim(store)
      await harness.elapse(PASSED_MS)
      const row = only([...first, ...(await claim(store))])
      assert.deepEqual([labels([row]), row.attempt], [['soon'], 1])
    },
  },
  {
    name: 'a row that is set aside with a reason comes again after its delay, with the attempt given back',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('2')])
      const [first, second] = await claim(store)
      assert.ok(first !== undefined && second !== undefined)
      const aside = {
        ...release(first, SHORT_MS),
        kind: 'release',
        error: new Error('not now'),
      } as const
      assert.deepEqual(await store.outbox.settle([aside, release(second, LONG_MS)]), { stale: 0 })
      await harness.elapse(PASSED_MS)
      const row = only(await claim(store))
      assert.deepEqual([labels([row]), row.attempt], [['1'], 1])
      assert.equal((await store.admin.stats()).dead, 0)
    },
  },
  {
    name: 'a former owner changes nothing, whatever it says, and is counted as stale',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await commit(store, [message('1'), ...keyed('k', '2')])
      const lost = await claim(store, { claimMs: SHORT_MS })
      await harness.elapse(PASSED_MS)
      const owned = await claim(other)
      assert.equal(owned.length, 2)
      for (const [index, settle] of everyKind.entries()) {
        assert.deepEqual(
          await store.outbox.settle(lost.map(settle)),
          { stale: 2 },
          `settlement number ${index}`,
        )
      }
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.claimed, stats.dead], [2, 2, 0])
      assert.deepEqual(await claim(store), [])
      assert.deepEqual(await other.outbox.settle(owned.map(sent)), { stale: 0 })
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'what was given back can no longer be settled by who gave it back',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('2')])
      const [first, second] = await claim(store)
      assert.ok(first !== undefined && second !== undefined)
      await store.outbox.settle([retry(first, 0), release(second)])
      assert.deepEqual(await store.outbox.settle([sent(first), sent(second)]), { stale: 2 })
      assert.equal((await claim(store)).length, 2)
    },
  },
  {
    name: 'an expired claim that nobody has taken over may still be settled',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      const row = only(await claim(store, { claimMs: SHORT_MS }))
      await harness.elapse(PASSED_MS)
      assert.deepEqual(await store.outbox.settle([sent(row)]), { stale: 0 })
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'a batch settles only what it names, each row in its own way',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        message('sent'),
        message('retry'),
        message('release'),
        message('dead'),
        message('open'),
        message('later'),
      ])
      const [a, b, c, d, open, later] = await claim(store)
      assert.ok(a && b && c && d && open && later)
      const foreign: Settlement = { kind: 'sent', position: open.position, token: newToken() }
      const result = await store.outbox.settle([
        sent(a),
        retry(b, 0),
        release(c),
        dead(d, 'skip'),
        foreign,
        retry(later, LONG_MS),
      ])
      assert.deepEqual(result, { stale: 1 })
      const again = await claim(store)
      assert.deepEqual(labels(again), ['retry', 'release'])
      assert.deepEqual(
        again.map(({ attempt }) => attempt),
        [2, 1],
      )
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.claimed, stats.dead], [4, 3, 1])
      assert.deepEqual(await store.outbox.settle([sent(open)]), { stale: 0 })
    },
  },
  {
    name: 'settling nothing, or a position that does not exist, changes nothing',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(await store.outbox.settle([]), { stale: 0 })
      const settlement: Settlement = {
        kind: 'sent',
        position: 9_007_199_254_740_000n,
        token: newToken(),
      }
      assert.deepEqual(await store.outbox.settle([settlement]), { stale: 1 })
    },
  },
  {
    name: 'the figures tell what is open, held, dead, and how long the oldest due row has waited',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(await store.admin.stats(), {
        pending: 0,
        claimed: 0,
        dead: 0,
        oldestDueMs: 0,
      })
      await commit(store, [
        message('1'),
        message('2'),
        message('3'),
        message('delayed', { delayMs: LONG_MS }),
      ])
      await harness.elapse(PASSED_MS)
      const before = await store.admin.stats()
      assert.deepEqual([before.pending, before.claimed, before.dead], [4, 0, 0])
      assert.ok(
        before.oldestDueMs >= SHORT_MS && before.oldestDueMs < LONG_MS,
        `oldestDueMs is ${before.oldestDueMs}`,
      )
      const [first, second] = await claim(store)
      assert.ok(first !== undefined && second !== undefined)
      await store.outbox.settle([dead(first, 'skip'), retry(second, LONG_MS)])
      assert.deepEqual(await store.admin.stats(), {
        pending: 3,
        claimed: 1,
        dead: 1,
        oldestDueMs: 0,
      })
    },
  },
  {
    name: 'an expired row goes as a sent one without a copy or becomes a dead letter, and its key goes on',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', 'k1', 'k2', 'k3'))
      const [first, second, third] = await claim(store)
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      const { stale } = await store.outbox.settle([
        { ...sent(first), kind: 'sent', keep: false },
        { ...dead(second, 'skip'), kind: 'dead', reason: 'expired' } as Settlement,
        release(third),
      ])
      assert.equal(stale, 0)
      assert.deepEqual(labels(await claim(store)), ['k3'])
      const letter = only(await store.admin.deadLetters.list())
      assert.equal(letter.reason, 'expired')
      assert.equal(letter.id, second.message.id)
    },
  },
]
