import assert from 'node:assert/strict'
import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  destination,
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
import { raceClaimers } from './race.ts'

/**
 * Due rows in order, held by one at a time, and of a key only the unbroken run from its first open
 * row.
 */
export const claimCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'an empty outbox gives an empty claim',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'rows come in the order of their positions and at most as many as asked for',
    async run(harness) {
      await using store = await harness.open()
      for (const label of ['1', '2', '3', '4', '5']) await commit(store, [message(label)])
      assert.deepEqual(labels(await claim(store, { limit: 2 })), ['1', '2'])
      assert.deepEqual(labels(await claim(store, { limit: 2 })), ['3', '4'])
      assert.deepEqual(labels(await claim(store, { limit: 2 })), ['5'])
    },
  },
  {
    name: 'a claim carries its own token and counts the first attempt as 1',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      const token = newToken()
      const row = only(await claim(store, { token }))
      assert.equal(row.token, token)
      assert.equal(row.attempt, 1)
      assert.equal(typeof row.position, 'bigint')
    },
  },
  {
    name: 'rows that others hold are passed over, and do not hold up the rest',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await commit(store, [message('1'), message('2'), message('3')])
      assert.deepEqual(labels(await claim(store, { limit: 1 })), ['1'])
      assert.deepEqual(labels(await claim(other)), ['2', '3'])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'an expired claim may be taken over, which counts as the next attempt',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await commit(store, [message('1'), ...keyed('k', '2', '3')])
      const lost = await claim(store, { claimMs: SHORT_MS })
      assert.equal(lost.length, 3)
      await harness.elapse(PASSED_MS)
      const taken = await claim(other)
      assert.deepEqual(labels(taken), ['1', '2', '3'])
      assert.deepEqual(
        taken.map(({ attempt }) => attempt),
        [2, 2, 2],
      )
      assert.ok(
        taken.every(
          (row, index) =>
            row.token !== lost[index]?.token && row.position === lost[index]?.position,
        ),
      )
    },
  },
  {
    name: 'twenty claimers on 2,000 rows never hold the same row, nor the same key, at one time, and keep the order of keys',
    run: raceClaimers,
  },
  {
    name: 'while the first rows of a key are held, nobody gets its later ones',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await commit(store, [...keyed('k', 'k1', 'k2', 'k3'), ...keyed('l', 'l1'), message('free')])
      const first = await claim(store, { limit: 2 })
      assert.deepEqual(labels(first), ['k1', 'k2'])
      assert.deepEqual(labels(await claim(other)), ['l1', 'free'])
      assert.deepEqual(await claim(other), [])
      await store.outbox.settle(first.map(sent))
      assert.deepEqual(labels(await claim(other)), ['k3'])
    },
  },
  {
    name: 'when only the head of a run has been settled, the later rows still wait for the middle',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', '1', '2', '3'))
      const [first, second] = await claim(store, { limit: 2 })
      assert.ok(first !== undefined && second !== undefined)
      await store.outbox.settle([sent(first)])
      assert.deepEqual(await claim(store), [])
      await store.outbox.settle([release(second)])
      assert.deepEqual(labels(await claim(store)), ['2', '3'])
    },
  },
  {
    name: 'a row that is due never overtakes an earlier row of its key that is not',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [...keyed('k', '1', '2', '3'), message('free')])
      const rows = await claim(store)
      const [first, second, third, free] = rows
      assert.ok(
        first !== undefined && second !== undefined && third !== undefined && free !== undefined,
      )
      await store.outbox.settle([
        release(first),
        retry(second, LONG_MS),
        release(third),
        release(free),
      ])
      assert.deepEqual(labels(await claim(store)), ['1', 'free'])
    },
  },
  {
    name: 'rows that wait for their key do not fill the window of a claim',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', ...Array.from({ length: 30 }, (_, index) => `k${index}`)))
      assert.equal((await claim(store, { limit: 1 })).length, 1)
      await commit(store, [message('behind')])
      assert.deepEqual(labels(await claim(store, { limit: 5 })), ['behind'])
    },
  },
  {
    name: 'a claim from a position on skips lower rows, and gives no key whose first open row is lower',
    async run(harness) {
      await using store = await harness.open()
      const saved = await commit(store, [
        message('low'),
        ...keyed('k', 'k1'),
        message('middle'),
        ...keyed('k', 'k2'),
        ...keyed('l', 'l1'),
      ])
      const fromPosition = saved[2]?.position
      assert.ok(fromPosition !== undefined)
      assert.deepEqual(labels(await claim(store, { fromPosition })), ['middle', 'l1'])
      assert.deepEqual(labels(await claim(store)), ['low', 'k1', 'k2'])
    },
  },
  {
    name: 'rows of excepted destinations are left alone and hold back later rows of their key',
    async run(harness) {
      await using store = await harness.open()
      const broken = { transport: 'default', kind: 'topic', name: 'broken' } as const
      await commit(store, [
        message('a', { to: broken }),
        message('k1', { to: broken, partitionKey: 'k' }),
        ...keyed('k', 'k2'),
        ...keyed('l', 'l1'),
        message('l2', { to: broken, partitionKey: 'l' }),
        ...keyed('l', 'l3'),
        message('free'),
      ])
      const held = await claim(store, { exceptDestinations: [destinationKey(broken)] })
      assert.deepEqual(labels(held), ['l1', 'free'])
      assert.deepEqual(
        await claim(store, {
          exceptDestinations: [destinationKey(broken), destinationKey(destination)],
        }),
        [],
      )
      await store.outbox.settle(held.map((row) => release(row)))
      const all = await claim(store, { exceptDestinations: ['default/queue/another'] })
      assert.deepEqual(labels(all), ['a', 'k1', 'k2', 'l1', 'l2', 'l3', 'free'])
      assert.ok(all.every(({ attempt }) => attempt === 1))
    },
  },
  {
    name: 'keys that are left alone are not claimed at all, and hold up no other key',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        ...keyed('k', 'k1'),
        ...keyed('l', 'l1'),
        ...keyed('k', 'k2'),
        message('free'),
      ])
      const held = await claim(store, { exceptKeys: ['k', 'another'] })
      assert.deepEqual(labels(held), ['l1', 'free'])
      assert.deepEqual(await claim(store, { exceptKeys: ['k'] }), [])
      const rest = await claim(store)
      assert.deepEqual(labels(rest), ['k1', 'k2'])
      assert.ok(rest.every(({ attempt }) => attempt === 1))
    },
  },
  {
    name: 'a claim that is renewed holds longer, and only for its owner',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('kept'), message('left'), message('stolen')])
      const rows = await claim(store, { claimMs: SHORT_MS })
      if (store.outbox.renew === undefined) return
      const [kept, , stolen] = rows as [ClaimedMessage, ClaimedMessage, ClaimedMessage]
      await store.outbox.renew([kept, { ...stolen, token: newToken() }], { claimMs: LONG_MS })
      await harness.elapse(PASSED_MS)
      const later = await claim(store)
      assert.deepEqual(labels(later), ['left', 'stolen'])
      await store.outbox.renew([stolen], { claimMs: 0 })
      assert.deepEqual(labels(await claim(store)), [])
      assert.deepEqual(await store.outbox.settle([sent(kept), ...later.map(sent)]), { stale: 0 })
    },
  },
  {
    name: 'a delayed message is claimed when it is due, and not before',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        message('much later', { delayMs: LONG_MS }),
        message('soon', { delayMs: SHORT_MS }),
        message('now'),
      ])
      assert.ok(labels(await claim(store)).includes('now'))
      await harness.elapse(PASSED_MS)
      const later = labels(await claim(store))
      assert.ok(later.every((label) => label === 'soon'))
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.claimed], [3, 2])
    },
  },
  {
    name: 'a delayed message holds back later messages of its key',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        message('slow', { partitionKey: 'k', delayMs: LONG_MS }),
        ...keyed('k', 'after'),
        message('soon', { partitionKey: 'l', delayMs: SHORT_MS }),
        ...keyed('l', 'after soon'),
        message('free'),
      ])
      const first = labels(await claim(store, { limit: 10 }))
      await harness.elapse(PASSED_MS)
      const second = labels(await claim(store, { limit: 10 }))
      assert.ok(first.includes('free'))
      const keyedOnes = [...first, ...second].filter((label) => label !== 'free')
      assert.deepEqual(keyedOnes, ['soon', 'after soon'])
    },
  },
]
