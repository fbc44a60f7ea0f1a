import assert from 'node:assert/strict'
import type { KeptFilter, KeptMessages } from '../../core/operations.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  keyed,
  labels,
  LONG_MS,
  message,
  only,
  type OutboxParts,
  PASSED_MS,
  type RetentionHarness,
  sent,
} from '../outbox/harness.ts'
import { partOf } from './parts.ts'

const keptOf = (store: OutboxParts): KeptMessages => partOf(store, 'kept')

/** Saves the messages, and settles them as sent. */
async function publish(store: OutboxParts, messages: readonly OutgoingMessage[]): Promise<void> {
  await commit(store, messages)
  assert.deepEqual(await store.outbox.settle((await claim(store)).map(sent)), { stale: 0 })
}

const other = { transport: 'default', kind: 'topic', name: 'other' } as const

/** Confirmed messages that are kept, and how they go out again. */
export const keptCases: readonly ContractCase<RetentionHarness>[] = [
  {
    name: 'kept: each condition of a filter counts what it names, and all of them must hold',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      const given = [message('a', { to: other }), ...keyed('k', 'b', 'c'), message('a')]
      await publish(store, given)
      const counts = async (filter: KeptFilter): Promise<number> => keptOf(store).count(filter)
      assert.equal(await counts({}), 4)
      assert.equal(await counts({ type: 'contract.a' }), 2)
      assert.equal(await counts({ partitionKey: 'k' }), 2)
      assert.equal(await counts({ destination: 'default/topic/other' }), 1)
      assert.equal(await counts({ id: given[3]?.id ?? '' }), 1)
      assert.equal(await counts({ type: 'contract.a', destination: 'default/topic/other' }), 1)
      assert.equal(await counts({ type: 'contract.a', partitionKey: 'k' }), 0)
      assert.equal(await counts({ type: "contract.a' or true --" }), 0)
    },
  },
  {
    name: 'kept: a filter by time has those confirmed at or after its beginning and before its end',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      const pauses = partOf(store, 'pauses')
      await publish(store, [message('early')])
      await harness.elapse(PASSED_MS)
      // The time of the database itself.
      await pauses.pause({ kind: 'key', name: 'now' }, '')
      const { since } = only(await pauses.list())
      await harness.elapse(PASSED_MS)
      await publish(store, [message('late'), message('late')])
      assert.equal(await keptOf(store).count({ since }), 2)
      assert.equal(await keptOf(store).count({ until: since }), 1)
      assert.equal(await keptOf(store).count({ since, until: since }), 0)
    },
  },
  {
    name: 'kept: a replay puts back the earliest, at most N, with the same ids, bytes and headers, due at once and with no attempts',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      const headers = { note: 'ключ' }
      const given = ['1', '2', '3'].map((label) =>
        message(label, { headers, body: new Uint8Array([0, 255, Number(label)]) }),
      )
      await publish(store, given)
      const kept = keptOf(store)
      assert.equal(await kept.replay({}, { limit: 2, newIds: false }), 2)
      const rows = await claim(store)
      assert.deepEqual(
        rows.map((row) => [row.message.id, row.attempt]),
        given.slice(0, 2).map(({ id }) => [id, 1]),
      )
      assert.deepEqual(new Uint8Array(rows[1]?.message.body ?? []), given[1]?.body)
      assert.deepEqual({ ...rows[1]?.message.headers }, headers)
      assert.deepEqual(rows[1]?.message.to, given[1]?.to)
      assert.equal(await kept.count({}), 1)
      assert.equal(await kept.replay({}, { limit: 2, newIds: false }), 1)
      assert.equal(await kept.replay({}, { limit: 2, newIds: false }), 0)
    },
  },
  {
    name: 'kept: a replayed message of a key goes behind what is open of its key, in the order of the first time',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      await publish(store, keyed('k', '1', '2'))
      await commit(store, [...keyed('k', 'open'), message('free')])
      assert.equal(
        await keptOf(store).replay({ partitionKey: 'k' }, { limit: 10, newIds: false }),
        2,
      )
      assert.deepEqual(labels(await claim(store)), ['open', 'free', '1', '2'])
    },
  },
  {
    name: 'kept: with new ids a replayed message is another one for whoever handled it before',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      const given = [message('1'), message('2')]
      await publish(store, given)
      assert.equal(await keptOf(store).replay({}, { limit: 10, newIds: true }), 2)
      const rows = await claim(store)
      assert.deepEqual(labels(rows), ['1', '2'])
      const ids = new Set([...given, ...rows.map((row) => row.message)].map(({ id }) => id))
      assert.equal(ids.size, 4)
    },
  },
  {
    name: 'kept: a message that is published again is kept again, once',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      await publish(store, [message('1'), message('2')])
      assert.equal(await keptOf(store).replay({}, { limit: 10, newIds: false }), 2)
      await store.outbox.settle((await claim(store)).map(sent))
      assert.equal(await keptOf(store).count({}), 2)
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'kept: two operators who replay the same messages put each back once',
    async run(harness) {
      await using store = await harness.openKeeping(LONG_MS)
      await using other = await harness.openKeeping(LONG_MS)
      await publish(store, [message('1'), ...keyed('k', '2', '3')])
      const moved = await Promise.all(
        [store, other].map((each) => keptOf(each).replay({}, { limit: 10, newIds: false })),
      )
      assert.equal(
        moved.reduce((sum, count) => sum + count),
        3,
      )
      assert.deepEqual(labels(await claim(store)).toSorted(), ['1', '2', '3'])
    },
  },
]
