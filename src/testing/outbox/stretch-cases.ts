import assert from 'node:assert/strict'
import type { ClaimedMessage, ClaimRequest } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  keyed,
  labels,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  release,
  retry,
  sent,
  LONG_MS,
} from './harness.ts'

const broken = { transport: 'default', kind: 'topic', name: 'broken' } as const

interface Walk {
  readonly rows: ClaimedMessage[]
  readonly claims: number
}

/**
 * Claims from the bottom to the end, in stretches of this many rows; a storage that looks at
 * everything needs one claim.
 */
async function walk(
  store: OutboxParts,
  size: number,
  request: Partial<ClaimRequest> = {},
): Promise<Walk> {
  const rows: ClaimedMessage[] = []
  let from: bigint | undefined = 0n
  let claims = 0
  while (from !== undefined) {
    let next: bigint | undefined
    const stopped = (at: { readonly next: bigint; readonly last: bigint }): void => {
      assert.ok(at.next <= at.last)
      next = at.next
    }
    rows.push(
      ...(await claim(store, { ...request, fromPosition: from, stretch: { rows: size, stopped } })),
    )
    claims++
    assert.ok(next === undefined || next > from, 'a stretch goes on')
    from = next
  }
  return { rows, claims }
}

/**
 * Claims that look at a part of the rows: together they find every row, and none of them takes a
 * row before an earlier one of its key.
 */
export const stretchCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'claims of one stretch after the other find every row that is free, and then come to an end',
    async run(harness) {
      await using store = await harness.open()
      const names = Array.from({ length: 11 }, (_, index) => String(index))
      for (const name of names) await commit(store, [message(name)])
      const { rows, claims } = await walk(store, 3)
      assert.deepEqual(labels(rows), names)
      assert.ok(claims <= 6, `${claims} claims`)
      assert.deepEqual((await walk(store, 3)).rows, [])
    },
  },
  {
    name: 'of a key whose rows lie in several stretches, nothing is taken before what is earlier and still open',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        ...keyed('k', 'k1'),
        message('a'),
        message('b'),
        ...keyed('k', 'k2'),
        message('c'),
        ...keyed('k', 'k3'),
      ])
      const first = await claim(store, { stretch: { rows: 2, stopped: () => {} } })
      const others = await walk(store, 2)
      const all = [...first, ...others.rows]
      const key = all.filter((row) => row.message.partitionKey === 'k')
      // With rows in hand from another claim, the later ones wait; a storage that looks at
      // everything has all of them in one.
      assert.ok(key.length === 1 || key.length === 3)
      assert.equal(new Set(key.map(({ token }) => token)).size, 1)
      assert.deepEqual(
        labels(all.filter((row) => row.message.partitionKey === undefined)).toSorted(),
        ['a', 'b', 'c'],
      )
      await store.outbox.settle(all.map(sent))
      for (let left = 3 - key.length; left > 0; left--) {
        const { rows } = await walk(store, 1)
        await store.outbox.settle(rows.map(sent))
      }
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'a stretch behind a row that is not due takes nothing of its key',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', '1'))
      await store.outbox.settle([retry(only(await claim(store)), LONG_MS)])
      const saved = await commit(store, [...keyed('k', '2', '3'), message('free')])
      assert.deepEqual(labels((await walk(store, 1)).rows), ['free'])
      const fromPosition = saved[0]?.position ?? 0n
      assert.deepEqual(
        labels(await claim(store, { fromPosition, stretch: { rows: 2, stopped: () => {} } })),
        [],
      )
    },
  },
  {
    name: 'stretches go past rows of destinations and keys that are left alone',
    async run(harness) {
      await using store = await harness.open()
      const left = [1, 2, 3, 4, 5].map((number) => message(`broken ${number}`, { to: broken }))
      await commit(store, [
        ...left,
        ...keyed('paused', 'p1', 'p2', 'p3'),
        message('one'),
        message('two'),
      ])
      const { rows } = await walk(store, 2, {
        exceptDestinations: ['default/topic/broken'],
        exceptKeys: ['paused'],
      })
      assert.deepEqual(labels(rows), ['one', 'two'])
    },
  },
  {
    name: 'a claim of keys takes the unbroken run from the first open row of each, and none that is left alone',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        message('a'),
        ...keyed('k', 'k1'),
        ...keyed('l', 'l1'),
        ...keyed('k', 'k2'),
        ...keyed('m', 'm1', 'm2'),
      ])
      await commit(store, [message('n1', { to: broken, partitionKey: 'n' }), ...keyed('n', 'n2')])
      const first = only(
        (await claim(store, { keys: ['m'], limit: 1 })).filter(
          (row) => row.message.partitionKey === 'm',
        ),
      )
      const except = { exceptDestinations: ['default/topic/broken'], exceptKeys: ['l'] }
      const rows = await claim(store, { keys: ['k', 'k', 'l', 'm', 'n', 'unknown'], ...except })
      // A storage may return what others could have, but nothing against the order.
      assert.deepEqual(labels(rows.filter((row) => row.message.partitionKey !== undefined)), [
        'k1',
        'k2',
      ])
      await store.outbox.settle([...rows.map((row) => release(row)), sent(first)])
      const next = await claim(store, { keys: ['m'] })
      assert.ok(labels(next).includes('m2'))
    },
  },
]
