import assert from 'node:assert/strict'
import { isMersalError } from '../core/errors/errors.ts'
import type { Store } from '../core/store.ts'
import type { ContractCase, HarnessTime } from './contract.ts'
import { headStart } from './outbox/harness.ts'

/** The parts of a store that the tracker suite works with. A `Store` has them. */
export type TrackerParts<Tx = unknown> = AsyncDisposable & Pick<Store<Tx>, 'unitOfWork' | 'tracker'>

/** What an adapter supplies to run the tracker suite; see `OutboxHarness`. */
export interface TrackerHarness<Tx = unknown> extends HarnessTime, AsyncDisposable {
  open(): Promise<TrackerParts<Tx>>
  readonly strangers?: readonly unknown[]
}

type Answer = 'first' | 'duplicate'

function track(store: TrackerParts, messageId: string, consumer = 'finance'): Promise<Answer> {
  return store.unitOfWork((tx) => store.tracker.track(tx, { consumer, messageId }))
}

/** Undefined where the tracker does not offer it. */
function trackTogether(
  store: TrackerParts,
  messageIds: readonly string[],
  consumer = 'finance',
): Promise<readonly Answer[]> | undefined {
  const { many } = store.tracker
  if (many === undefined) return undefined
  return store.unitOfWork((tx) => many.track(tx, { consumer, messageIds }))
}

/**
 * Tracks `m1` in a transaction of `first`, and meanwhile in one of `second`. Returns what the
 * second one was told.
 */
async function race(harness: TrackerHarness, end: 'commit' | 'rollback'): Promise<Answer> {
  await using first = await harness.open()
  await using second = await harness.open()
  let rival: Promise<Answer> | undefined
  let rivalEnded = false
  const unit = first.unitOfWork(async (tx) => {
    assert.equal(await first.tracker.track(tx, { consumer: 'finance', messageId: 'm1' }), 'first')
    rival = track(second, 'm1').finally(() => {
      rivalEnded = true
    })
    await headStart(rival)
    assert.equal(rivalEnded, false, 'the second transaction did not wait for the first')
    if (end === 'rollback') throw new Error('rolled back')
  })
  if (end === 'commit') await unit
  else await assert.rejects(unit, { message: 'rolled back' })
  assert.ok(rival !== undefined)
  return rival
}

/** What every message tracker must do. */
export const trackerContract: readonly ContractCase<TrackerHarness>[] = [
  {
    name: 'a message is new once, and a duplicate from then on',
    async run(harness) {
      await using store = await harness.open()
      assert.equal(await track(store, 'm1'), 'first')
      assert.equal(await track(store, 'm1'), 'duplicate')
      assert.equal(await track(store, 'm1'), 'duplicate')
      assert.equal(await track(store, 'm2'), 'first')
    },
  },
  {
    name: 'a transaction that rolls back forgets what it has tracked',
    async run(harness) {
      await using store = await harness.open()
      const unit = store.unitOfWork(async (tx) => {
        await store.tracker.track(tx, { consumer: 'finance', messageId: 'm1' })
        throw new Error('rolled back')
      })
      await assert.rejects(unit, { message: 'rolled back' })
      assert.equal(await track(store, 'm1'), 'first')
    },
  },
  {
    name: 'other consumers of the same message are independent',
    async run(harness) {
      await using store = await harness.open()
      assert.equal(await track(store, 'm1', 'finance'), 'first')
      assert.equal(await track(store, 'm1', 'mail'), 'first')
      assert.equal(await track(store, 'm1', 'Finance'), 'first')
      assert.equal(await track(store, 'm1', 'finance'), 'duplicate')
    },
  },
  {
    name: 'the border between consumer and message is never mistaken',
    async run(harness) {
      await using store = await harness.open()
      assert.equal(await track(store, 'c/d', 'a/b'), 'first')
      assert.equal(await track(store, 'b/c/d', 'a'), 'first')
      assert.equal(await track(store, 'd', 'a/b/c'), 'first')
    },
  },
  {
    name: 'within one transaction the second time is a duplicate, and the transaction goes on',
    async run(harness) {
      await using store = await harness.open()
      const answers = await store.unitOfWork(async (tx) => [
        await store.tracker.track(tx, { consumer: 'finance', messageId: 'm1' }),
        await store.tracker.track(tx, { consumer: 'finance', messageId: 'm1' }),
        await store.tracker.track(tx, { consumer: 'finance', messageId: 'm2' }),
      ])
      assert.deepEqual(answers, ['first', 'duplicate', 'first'])
      assert.equal(await track(store, 'm2'), 'duplicate')
    },
  },
  {
    name: 'of two transactions at once, the second waits, and is a duplicate if the first commits',
    run: async (harness) => assert.equal(await race(harness, 'commit'), 'duplicate'),
  },
  {
    name: 'of two transactions at once, the second waits, and is the first if the other rolls back',
    run: async (harness) => assert.equal(await race(harness, 'rollback'), 'first'),
  },
  {
    name: 'of many transactions at once, exactly one is the first',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => track(index % 2 === 0 ? store : other, 'm1')),
      )
      assert.equal(answers.filter((answer) => answer === 'first').length, 1)
    },
  },
  {
    name: 'several ids at once, where that is offered: one answer for each, in their order, and each is recorded',
    async run(harness) {
      await using store = await harness.open()
      const { many } = store.tracker
      if (many === undefined) return
      assert.equal(await track(store, 'm2'), 'first')
      const ids = ['m3', 'm2', 'b"r{a},c\\e', 'null', ' m1 ', 'm1', '\u00e4\u{1f980}']
      assert.deepEqual(
        await trackTogether(store, ids),
        ids.map((id) => (id === 'm2' ? 'duplicate' : 'first')),
      )
      assert.deepEqual(
        await trackTogether(store, ids),
        ids.map(() => 'duplicate'),
      )
      assert.deepEqual(await trackTogether(store, ['m1'], 'mail'), ['first'])
      for (const id of ids) assert.equal(await track(store, id), 'duplicate', id)
    },
  },
  {
    name: 'what a transaction has recorded can be forgotten by its name, and no record of another one with it',
    async run(harness) {
      await using store = await harness.open()
      const { many, endings } = store.tracker
      if (endings === undefined) return
      const consumer = 'finance'
      assert.equal(await track(store, 'm2'), 'first')
      const messageIds = ['m1', 'm2', 'm3']
      const recorder = await store.unitOfWork(async (tx) => {
        if (many === undefined)
          for (const messageId of messageIds) await store.tracker.track(tx, { consumer, messageId })
        else await many.track(tx, { consumer, messageIds })
        return endings.recorder(tx)
      })
      assert.equal(await track(store, 'm4'), 'first')
      assert.equal(
        await endings.forget(recorder?.transaction ?? '', {
          consumer,
          messageIds: ['m2', 'm3', 'm4'],
        }),
        1,
      )
      const still: Answer[] = []
      for (const id of ['m1', 'm2', 'm3', 'm4']) still.push(await track(store, id))
      assert.deepEqual(still, ['duplicate', 'duplicate', 'first', 'duplicate'])
    },
  },
  {
    name: 'two transactions with the same ids in other orders never wait in a circle, and each id is the first in exactly one',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      if (store.tracker.many === undefined) return
      const ids = ['m1', 'm2', 'm3', 'm4', 'm5']
      const firstOnes = async (
        parts: TrackerParts,
        mine: readonly string[],
      ): Promise<readonly string[]> => {
        const answers = await trackTogether(parts, mine)
        return mine.filter((_, index) => answers?.[index] === 'first')
      }
      let rivals: Promise<readonly string[]>[] = []
      // While the one in the middle is held, each has recorded all that it asked for before it.
      const held = store.unitOfWork(async (tx) => {
        await store.tracker.track(tx, { consumer: 'finance', messageId: 'm3' })
        rivals = [firstOnes(other, ids), firstOnes(other, ids.toReversed())]
        await headStart(Promise.all(rivals))
        throw new Error('rolled back')
      })
      await assert.rejects(held, { message: 'rolled back' })
      assert.deepEqual((await Promise.all(rivals)).flat().toSorted(), ids)
    },
  },
  {
    name: 'what is no open transaction is refused, and never taken for a duplicate',
    async run(harness) {
      await using store = await harness.open()
      const { tx } = await store.unitOfWork((handle) => Promise.resolve({ tx: handle }))
      for (const [index, stranger] of [undefined, {}, tx, ...(harness.strangers ?? [])].entries()) {
        const refused = Promise.resolve().then(() =>
          store.tracker.track(stranger, { consumer: 'finance', messageId: 'm1' }),
        )
        await assert.rejects(
          refused,
          (error) => isMersalError(error, 'MERSAL_NOT_A_TRANSACTION'),
          `stranger number ${index}`,
        )
        const { many } = store.tracker
        if (many === undefined) continue
        const several = Promise.resolve().then(() =>
          many.track(stranger, { consumer: 'finance', messageIds: ['m1', 'm2'] }),
        )
        await assert.rejects(
          several,
          { code: 'MERSAL_NOT_A_TRANSACTION' },
          `several ids, stranger number ${index}`,
        )
      }
      assert.equal(await track(store, 'm1'), 'first')
    },
  },
  {
    name: 'what was tracked is known to a store that is opened later',
    async run(harness) {
      {
        await using store = await harness.open()
        assert.equal(await track(store, 'm1'), 'first')
      }
      await using store = await harness.open()
      assert.equal(await track(store, 'm1'), 'duplicate')
    },
  },
  {
    name: 'old records are removed, at most N at once, and younger ones stay',
    async run(harness) {
      await using store = await harness.open()
      for (const id of ['m1', 'm2', 'm3']) await track(store, id)
      assert.equal(await store.tracker.prune({ olderThanMs: 600_000, limit: 100 }), 0)
      await harness.elapse(300)
      assert.equal(await store.tracker.prune({ olderThanMs: 100, limit: 2 }), 2)
      assert.equal(await store.tracker.prune({ olderThanMs: 100, limit: 100 }), 1)
      assert.equal(await store.tracker.prune({ olderThanMs: 100, limit: 100 }), 0)
      assert.equal(await track(store, 'm1'), 'first')
      assert.equal(await store.tracker.prune({ olderThanMs: 600_000, limit: 100 }), 0)
      assert.equal(await track(store, 'm1'), 'duplicate')
    },
  },
]
