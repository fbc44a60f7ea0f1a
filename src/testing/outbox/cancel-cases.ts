import assert from 'node:assert/strict'
import type { Cancellation } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import {
  claim,
  commit,
  dead,
  headStart,
  keyed,
  labels,
  LONG_MS,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  release,
  retry,
  sent,
} from './harness.ts'

/** A delay that is over before anything else is done, in milliseconds. */
const SOON_MS = 1
const LATER_MS = 10

function cancelWithin<Tx>(store: OutboxParts<Tx>, tx: Tx, id: string): Promise<Cancellation> {
  const { waiting } = store.outbox
  assert.ok(waiting?.cancel !== undefined, 'the storage takes delayed messages back')
  return waiting.cancel(tx, id)
}

/** In a unit of its own. */
const cancel = (store: OutboxParts, { id }: { readonly id: string }): Promise<Cancellation> =>
  store.unitOfWork((tx) => cancelWithin(store, tx, id))

const delayed = (label: string, extra: Parameters<typeof message>[1] = {}) =>
  message(label, { delayMs: LONG_MS, ...extra })

/**
 * Delayed messages that are taken back inside a transaction. A storage that cannot leaves out the
 * cases that begin with `cancel`.
 */
export const cancelCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'cancel: a delayed message is taken back with the commit, once, and others stay',
    async run(harness) {
      await using store = await harness.open()
      const wanted = delayed('wanted', { delayMs: SOON_MS })
      const unwanted = delayed('unwanted', { delayMs: SOON_MS })
      await commit(store, [wanted, unwanted])
      await store.unitOfWork(async (tx) => {
        await harness.write(tx, 'paid')
        assert.equal(await cancelWithin(store, tx, unwanted.id), 'cancelled')
        assert.equal(await cancelWithin(store, tx, unwanted.id), 'unknown')
      })
      assert.equal(await cancel(store, unwanted), 'unknown')
      await harness.elapse(LATER_MS)
      assert.deepEqual(labels(await claim(store)), ['wanted'])
      assert.deepEqual(await harness.read(), ['paid'])
      assert.equal((await store.admin.stats()).pending, 1)
    },
  },
  {
    name: 'cancel: P1: a transaction that is rolled back takes nothing back',
    async run(harness) {
      await using store = await harness.open()
      const unwanted = delayed('unwanted', { delayMs: SOON_MS })
      await commit(store, [unwanted])
      const failing = store.unitOfWork(async (tx) => {
        assert.equal(await cancelWithin(store, tx, unwanted.id), 'cancelled')
        throw new Error('rolled back')
      })
      await assert.rejects(failing, /rolled back/)
      await harness.elapse(LATER_MS)
      assert.deepEqual(labels(await claim(store)), ['unwanted'])
    },
  },
  {
    name: 'cancel: a message that is due and that no relay has taken is taken back',
    async run(harness) {
      await using store = await harness.open()
      const unwanted = delayed('unwanted', { delayMs: SOON_MS })
      await commit(store, [unwanted])
      await harness.elapse(LATER_MS)
      assert.equal(await cancel(store, unwanted), 'cancelled')
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'cancel: what a relay has ever taken is gone: in its hands, given back, refused',
    async run(harness) {
      await using store = await harness.open()
      const taken = ['held', 'released', 'refused'].map((label) =>
        delayed(label, { delayMs: SOON_MS }),
      )
      await commit(store, taken)
      await harness.elapse(LATER_MS)
      const rows = await claim(store)
      const [held, released, refused] = rows
      assert.ok(held !== undefined && released !== undefined && refused !== undefined)
      await store.outbox.settle([release(released), retry(refused, LONG_MS)])
      for (const row of taken) assert.equal(await cancel(store, row), 'gone')
      assert.deepEqual(await store.outbox.settle([sent(held)]), { stale: 0 })
      assert.deepEqual(labels(await claim(store)), ['released'])
    },
  },
  {
    name: 'cancel: what was published, what has no delay and what never was is unknown',
    async run(harness) {
      await using store = await harness.open()
      const published = delayed('published', { delayMs: SOON_MS })
      const plain = message('plain')
      await commit(store, [published])
      await harness.elapse(LATER_MS)
      await store.outbox.settle([sent(only(await claim(store)))])
      await commit(store, [plain])
      for (const id of [published.id, plain.id, uuidv7(Date.now())])
        assert.equal(await cancel(store, { id }), 'unknown')
      assert.deepEqual(labels(await claim(store)), ['plain'])
    },
  },
  {
    name: 'cancel: a dead letter is not taken back, nor one that an operator has put back',
    async run(harness) {
      await using store = await harness.open()
      const poison = [
        delayed('moved', { delayMs: SOON_MS }),
        delayed('blocking', { delayMs: SOON_MS, partitionKey: 'k' }),
      ]
      await commit(store, poison)
      await harness.elapse(LATER_MS)
      await store.outbox.settle((await claim(store)).map((row) => dead(row, 'block-key')))
      for (const row of poison) assert.notEqual(await cancel(store, row), 'cancelled')
      const letters = await store.admin.deadLetters.list()
      assert.equal(await store.admin.deadLetters.retry(letters.map(({ key }) => key)), 2)
      for (const row of poison) assert.notEqual(await cancel(store, row), 'cancelled')
      assert.deepEqual(new Set(labels(await claim(store))), new Set(['moved', 'blocking']))
    },
  },
  {
    name: 'cancel: a message of the same transaction is taken back',
    async run(harness) {
      await using store = await harness.open()
      await store.unitOfWork(async (tx) => {
        const rows = [delayed('unwanted'), message('wanted')]
        await store.outbox.save(tx, rows)
        assert.equal(await cancelWithin(store, tx, rows[0]?.id ?? ''), 'cancelled')
      })
      assert.deepEqual(labels(await claim(store)), ['wanted'])
      assert.equal((await store.admin.stats()).pending, 1)
    },
  },
  {
    name: 'cancel: P1: of two messages with one id both are taken back, and if a relay has taken one, that is gone',
    async run(harness) {
      await using store = await harness.open()
      const twin = delayed('twin')
      for (const _ of [1, 2]) await commit(store, [twin])
      assert.equal(await cancel(store, twin), 'cancelled')
      assert.equal((await store.admin.stats()).pending, 0)
      const due = delayed('due', { delayMs: SOON_MS })
      for (const _ of [1, 2]) await commit(store, [due])
      await harness.elapse(LATER_MS)
      const taken = only(await claim(store, { limit: 1 }))
      assert.equal(await cancel(store, due), 'gone')
      assert.deepEqual(await claim(store), [])
      assert.deepEqual(await store.outbox.settle([sent(taken)]), { stale: 0 })
    },
  },
  {
    name: 'cancel: of two transactions that take back the same message one does, and the other finds nothing',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const unwanted = delayed('unwanted')
      await commit(store, [unwanted])
      let second: Promise<Cancellation> | undefined
      await store.unitOfWork(async (tx) => {
        assert.equal(await cancelWithin(store, tx, unwanted.id), 'cancelled')
        second = cancel(other, unwanted)
        await headStart(second)
      })
      assert.equal(await second, 'unknown')
    },
  },
  {
    name: 'cancel: P5: later messages of its key wait until the commit, and go then',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const first = delayed('first', { partitionKey: 'k' })
      await commit(store, [first, ...keyed('k', 'second')])
      assert.deepEqual(await claim(store), [])
      let claimed: Promise<readonly unknown[]> | undefined
      await store.unitOfWork(async (tx) => {
        assert.equal(await cancelWithin(store, tx, first.id), 'cancelled')
        claimed = claim(other)
        await headStart(claimed)
      })
      const during = await (claimed as ReturnType<typeof claim>)
      // With one writer the claim has waited for the commit.
      assert.deepEqual([...labels(during), ...labels(await claim(store))], ['second'])
    },
  },
  {
    name: 'cancel: P7: while the transaction is open no relay takes the message, and after a rollback one does',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const rows = [delayed('back', { delayMs: SOON_MS }), delayed('other', { delayMs: SOON_MS })]
      await commit(store, rows)
      await harness.elapse(LATER_MS)
      let claimed: ReturnType<typeof claim> | undefined
      const failing = store.unitOfWork(async (tx) => {
        assert.equal(await cancelWithin(store, tx, rows[0]?.id ?? ''), 'cancelled')
        claimed = claim(other)
        await headStart(claimed)
        throw new Error('rolled back')
      })
      await assert.rejects(failing, /rolled back/)
      const during = labels((await claimed) ?? [])
      const after = labels(await claim(store))
      assert.deepEqual([...during, ...after].toSorted(), ['back', 'other'])
    },
  },
  {
    name: 'cancel: P1, P7: of fifty messages that ten relays claim while they are cancelled, each is either claimed or cancelled',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const rows = Array.from({ length: 50 }, (_, index) =>
        delayed(String(index), { delayMs: SOON_MS }),
      )
      await commit(store, rows)
      await harness.elapse(LATER_MS)
      const claims = Array.from({ length: 10 }, () => claim(other, { limit: 3 }))
      const answers: Cancellation[] = []
      for (const row of rows) answers.push(await cancel(store, row))
      const claimed = [...(await Promise.all(claims)).flat(), ...(await claim(other))]
      const cancelled = rows.filter((_, index) => answers[index] === 'cancelled')
      assert.deepEqual(
        [...labels(claimed), ...labels(cancelled.map((row) => ({ message: row })))].toSorted(),
        labels(rows.map((row) => ({ message: row }))).toSorted(),
      )
      assert.ok(answers.every((answer) => answer !== 'unknown'))
    },
  },
]

/** The same in savepoints. */
export const cancelSavepointCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'savepoint: what was cancelled in one that is rolled back waits as before, and stays cancelled outside of it',
    async run(harness) {
      await using store = await harness.open()
      const { savepoints } = store
      if (store.outbox.waiting?.cancel === undefined || savepoints === undefined) return
      const rows = ['outside', 'inside', 'released'].map((label) =>
        delayed(label, { delayMs: SOON_MS }),
      )
      const [outside, inside, released] = rows.map(({ id }) => id)
      assert.ok(outside !== undefined && inside !== undefined && released !== undefined)
      await commit(store, rows)
      await store.unitOfWork(async (tx) => {
        const own = delayed('own', { delayMs: SOON_MS })
        await store.outbox.save(tx, [own])
        assert.equal(await cancelWithin(store, tx, outside), 'cancelled')
        const undone = await savepoints.open(tx)
        assert.equal(await cancelWithin(store, tx, inside), 'cancelled')
        assert.equal(await cancelWithin(store, tx, own.id), 'cancelled')
        await undone.rollBack()
        const kept = await savepoints.open(tx)
        assert.equal(await cancelWithin(store, tx, released), 'cancelled')
        await kept.release()
      })
      await harness.elapse(LATER_MS)
      assert.deepEqual(labels(await claim(store)).toSorted(), ['inside', 'own'])
    },
  },
]
