import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  change,
  type DocumentsHarness,
  held,
  hold,
  HOLD_MS,
  key,
  labels,
  PASSED_MS,
  settled,
} from './harness.ts'

/** Messages wait in their document until they are removed. */
export const relayCases: readonly ContractCase<DocumentsHarness>[] = [
  {
    name: 'messages are found in their order and as they were, and only documents with messages are found',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, [], { collection: 'orders', id: 'silent' })
      const stored = [...(await change(storage, ['1', '2'])), ...(await change(storage, ['3']))]
      const { key: found, messages, attempts } = await held(storage)
      assert.deepEqual([found, attempts], [key, 1])
      assert.deepEqual(
        messages.map((one) => ({ ...one, body: [...one.body] })),
        stored.map((one) => ({ ...one, body: [...one.body] })),
      )
    },
  },
  {
    name: 'a document is held by one relay, comes to another one after the hold, and counts it',
    async run(harness) {
      const [storage, other] = [await harness.open(), await harness.open()]
      await change(storage, ['1'])
      await held(storage, HOLD_MS)
      assert.deepEqual((await hold(other)).found, [])
      await harness.elapse(PASSED_MS)
      assert.equal((await held(other)).attempts, 2)
    },
  },
  {
    name: 'what is confirmed is removed; the rest is found again, and what was stored meanwhile behind it',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2', '3'])
      const first = await held(storage)
      await change(storage, ['4'])
      assert.deepEqual((await hold(storage)).found, [])
      assert.equal(await storage.removeMessages({ ...first, ...settled, confirmed: 2 }), true)
      const second = await held(storage)
      assert.deepEqual([labels(second), second.attempts], [['3', '4'], 1])
      assert.equal(await storage.removeMessages({ ...second, ...settled, confirmed: 2 }), true)
      assert.deepEqual((await hold(storage)).found, [])
      await change(storage, ['5'])
      assert.deepEqual(labels(await held(storage)), ['5'])
    },
  },
  {
    name: 'a former holder changes nothing',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2'])
      const former = await held(storage, HOLD_MS)
      await harness.elapse(PASSED_MS)
      const present = await held(storage)
      const dead = { reason: 'refused', error: 'no' } as const
      assert.equal(await storage.removeMessages({ ...former, ...settled, confirmed: 1 }), false)
      assert.equal(await storage.removeMessages({ ...former, ...settled, dead }), false)
      assert.deepEqual(await storage.deadLetters.list(), [])
      assert.equal(await storage.removeMessages({ ...present, ...settled, confirmed: 1 }), true)
      assert.equal(await storage.removeMessages({ ...present, ...settled, confirmed: 1 }), false)
      assert.deepEqual(labels(await held(storage)), ['2'])
    },
  },
  {
    name: 'a retry waits, keeps the order, and the attempts are those that the relay says',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2'])
      const first = await held(storage)
      assert.equal(
        await storage.removeMessages({ ...first, ...settled, attempts: 4, retryMs: HOLD_MS }),
        true,
      )
      assert.deepEqual((await hold(storage)).found, [])
      await change(storage, ['3'])
      assert.deepEqual((await hold(storage)).found, [])
      await harness.elapse(PASSED_MS)
      const again = await held(storage)
      assert.deepEqual([labels(again), again.attempts], [['1', '2', '3'], 5])
    },
  },
  {
    name: 'no more documents are held than are asked for, those that have waited longest first',
    async run(harness) {
      const storage = await harness.open()
      for (const id of ['c', 'b', 'a']) {
        await change(storage, [id], { collection: 'orders', id })
        await harness.elapse(10)
      }
      const found = await storage.findWithMessages({ limit: 2, holdMs: 60_000, token: 't' })
      assert.deepEqual(
        found.map(({ key: { id } }) => id),
        ['c', 'b'],
      )
      const { found: rest } = await hold(storage)
      assert.deepEqual(
        rest.map(({ key: { id } }) => id),
        ['a'],
      )
    },
  },
]
