import assert from 'node:assert/strict'
import type { MessageState } from '../../core/operations.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  dead,
  LONG_MS,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  retry,
  sent,
} from '../outbox/harness.ts'
import { partOf } from './parts.ts'

const consumer = 'billing'

const stateOf = (store: OutboxParts, { id }: { readonly id: string }): Promise<MessageState> =>
  partOf(store, 'trace')({ messageId: id, consumer })

/** What became of a message. */
export const traceCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'trace: a message waits, is sent, waits for another try, and has left',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const given = message('1')
      assert.equal(await stateOf(store, given), 'left')
      await commit(store, [given, message('2', { delayMs: LONG_MS })])
      assert.equal(await stateOf(other, given), 'waiting')
      const row = only(await claim(store))
      assert.equal(await stateOf(other, given), 'sending')
      await store.outbox.settle([retry(row, 0)])
      assert.equal(await stateOf(other, given), 'waiting')
      await store.outbox.settle([sent(only(await claim(store)))])
      assert.equal(await stateOf(other, given), 'left')
    },
  },
  {
    name: 'trace: a delayed message waits, and one of a transaction that was rolled back is not there',
    async run(harness) {
      await using store = await harness.open()
      const [delayed, undone] = [message('1', { delayMs: LONG_MS }), message('2')]
      await commit(store, [delayed])
      const failing = store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [undone])
        throw new Error('rolled back')
      })
      await assert.rejects(failing, /rolled back/)
      assert.deepEqual(
        [await stateOf(store, delayed), await stateOf(store, undone)],
        ['waiting', 'left'],
      )
    },
  },
  {
    name: 'trace: a dead letter is dead, in its place or moved, until it is retried or discarded',
    async run(harness) {
      await using store = await harness.open()
      const [moved, blocking] = [message('1'), message('2', { partitionKey: 'k' })]
      await commit(store, [moved, blocking])
      await store.outbox.settle((await claim(store)).map((row) => dead(row, 'block-key')))
      for (const one of [moved, blocking]) assert.equal(await stateOf(store, one), 'dead')
      const letters = await store.admin.deadLetters.list()
      const keyOf = (id: string): string => letters.find((letter) => letter.id === id)?.key ?? ''
      await store.admin.deadLetters.retry([keyOf(blocking.id)])
      await store.admin.deadLetters.discard([keyOf(moved.id)])
      assert.deepEqual(
        [await stateOf(store, moved), await stateOf(store, blocking)],
        ['left', 'waiting'],
      )
    },
  },
  {
    name: 'trace: a message is handled once the transaction of its consumer has committed, and by that consumer alone',
    async run(harness) {
      await using store = await harness.open()
      const { tracker } = store
      if (tracker === undefined) return
      const given = message('1')
      const track = (name: string): Promise<unknown> =>
        store.unitOfWork((tx) => tracker.track(tx, { consumer: name, messageId: given.id }))
      await track('shipping')
      assert.equal(await stateOf(store, given), 'left')
      const failing = store.unitOfWork(async (tx) => {
        await tracker.track(tx, { consumer, messageId: given.id })
        throw new Error('rolled back')
      })
      await assert.rejects(failing, /rolled back/)
      assert.equal(await stateOf(store, given), 'left')
      await track(consumer)
      assert.equal(await stateOf(store, given), 'handled')
    },
  },
]
