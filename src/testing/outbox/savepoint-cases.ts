import assert from 'node:assert/strict'
import type { Savepoints } from '../../core/store.ts'
import type { ContractCase } from '../contract.ts'
import { cancelSavepointCases } from './cancel-cases.ts'
import { claim, keyed, labels, message, type OutboxHarness, type OutboxParts } from './harness.ts'

function savepointsOf<Tx>(store: OutboxParts<Tx>): Savepoints<Tx> {
  assert.ok(store.savepoints !== undefined, 'the store has no savepoints')
  return store.savepoints
}

/** Savepoints in a unit of work, for stores that offer them. */
export const savepointCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'savepoint: what is released stays with its transaction',
    async run(harness) {
      await using store = await harness.open()
      await store.unitOfWork(async (tx) => {
        await harness.write(tx, 'before')
        const savepoint = await savepointsOf(store).open(tx)
        await harness.write(tx, 'inside')
        await store.outbox.save(tx, [message('inside')])
        await savepoint.release()
        await harness.write(tx, 'after')
      })
      assert.deepEqual([...(await harness.read())].toSorted(), ['after', 'before', 'inside'])
      assert.deepEqual(labels(await claim(store)), ['inside'])
    },
  },
  {
    name: 'savepoint: what is rolled back is gone, rows and messages alike, and the transaction goes on',
    async run(harness) {
      await using store = await harness.open()
      await store.unitOfWork(async (tx) => {
        await harness.write(tx, 'before')
        await store.outbox.save(tx, [message('before')])
        const savepoint = await savepointsOf(store).open(tx)
        await harness.write(tx, 'inside')
        await store.outbox.save(tx, [message('inside')])
        await savepoint.rollBack()
        await harness.write(tx, 'after')
        await store.outbox.save(tx, [message('after')])
      })
      assert.deepEqual([...(await harness.read())].toSorted(), ['after', 'before'])
      assert.deepEqual(labels(await claim(store)), ['before', 'after'])
    },
  },
  {
    name: 'savepoint: one inside of another goes with it, and alone leaves it as it was',
    async run(harness) {
      await using store = await harness.open()
      await store.unitOfWork(async (tx) => {
        const savepoints = savepointsOf(store)
        const outer = await savepoints.open(tx)
        await harness.write(tx, 'outer')
        const gone = await savepoints.open(tx)
        await harness.write(tx, 'gone')
        await gone.rollBack()
        const kept = await savepoints.open(tx)
        await harness.write(tx, 'kept')
        await kept.release()
        await outer.release()
        const whole = await savepoints.open(tx)
        const inner = await savepoints.open(tx)
        await harness.write(tx, 'released, then rolled back')
        await inner.release()
        await whole.rollBack()
      })
      assert.deepEqual([...(await harness.read())].toSorted(), ['kept', 'outer'])
    },
  },
  {
    name: 'savepoint: nothing of it is left when its transaction rolls back, released or not',
    async run(harness) {
      await using store = await harness.open()
      const failed = store.unitOfWork(async (tx) => {
        const released = await savepointsOf(store).open(tx)
        await harness.write(tx, 'released')
        await store.outbox.save(tx, [message('released')])
        await released.release()
        await savepointsOf(store).open(tx)
        await harness.write(tx, 'open')
        throw new Error('the work failed')
      })
      await assert.rejects(failed, { message: 'the work failed' })
      assert.deepEqual(await harness.read(), [])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'savepoint: messages of a key keep their order around one that was rolled back',
    async run(harness) {
      await using store = await harness.open()
      await store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, keyed('k', '1'))
        const savepoint = await savepointsOf(store).open(tx)
        await store.outbox.save(tx, keyed('k', 'gone'))
        await savepoint.rollBack()
        await store.outbox.save(tx, keyed('k', '2'))
      })
      await store.unitOfWork((tx) => store.outbox.save(tx, keyed('k', '3')))
      assert.deepEqual(labels(await claim(store)), ['1', '2', '3'])
    },
  },
  {
    name: 'savepoint: a unit knows which of its messages are kept, and all of them without a savepoint',
    async run(harness) {
      await using store = await harness.open()
      const savepoints = savepointsOf(store)
      await store.unitOfWork(async (tx) => {
        await savepoints.mark(tx, 1)
        assert.equal(await savepoints.kept(tx), undefined)
        const released = await savepoints.open(tx)
        await savepoints.mark(tx, 2)
        await released.release()
        const kept = await savepoints.kept(tx)
        assert.deepEqual(kept === undefined ? [1, 2] : [...kept].toSorted((a, b) => a - b), [1, 2])
      })
    },
  },
  {
    name: 'savepoint: after the end of its transaction none can be made or ended',
    async run(harness) {
      await using store = await harness.open()
      const savepoints = savepointsOf(store)
      const { tx, savepoint } = await store.unitOfWork(async (handle) => ({
        tx: handle,
        savepoint: await savepoints.open(handle),
      }))
      await assert.rejects(savepoints.open(tx))
      await assert.rejects(savepoint.release())
      await assert.rejects(savepoint.rollBack())
    },
  },
  ...cancelSavepointCases,
]
