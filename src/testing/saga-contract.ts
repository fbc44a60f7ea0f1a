import assert from 'node:assert/strict'
import type { SagaInstance, SagaKey } from '../core/records/sagas.ts'
import type { Store } from '../core/store.ts'
import type { ContractCase, HarnessTime } from './contract.ts'
import { headStart } from './outbox/harness.ts'

/** The parts of a store that the saga suite works with. A `Store` may have them. */
export type SagaParts<Tx = unknown> = AsyncDisposable & Pick<Store<Tx>, 'unitOfWork' | 'sagas'>

/** What an adapter supplies to run the saga suite; see `OutboxHarness`. */
export interface SagaHarness<Tx = unknown> extends HarnessTime, AsyncDisposable {
  open(): Promise<SagaParts<Tx>>
}

const order: SagaKey = { app: 'shop', saga: 'order', key: 'o1' }

const instance = (state: unknown, more: Partial<SagaInstance> = {}): SagaInstance => ({
  id: '018f0000-0000-7000-8000-000000000001',
  version: 1,
  state: JSON.stringify(state),
  timeouts: '{"last":0,"numbers":{}}',
  ...more,
})

async function sagasOf(parts: SagaParts): Promise<NonNullable<SagaParts['sagas']>> {
  assert.ok(parts.sagas !== undefined, 'the store has no sagas')
  await parts.sagas.open()
  return parts.sagas
}

/** Loads in a transaction of its own. */
async function load(parts: SagaParts, key = order): Promise<SagaInstance | undefined> {
  const sagas = await sagasOf(parts)
  return parts.unitOfWork((tx) => sagas.load(tx, key))
}

/** Loads, then stores what the function makes of it, in one transaction. */
async function change(
  parts: SagaParts,
  next: (before: SagaInstance | undefined) => SagaInstance | undefined,
  key = order,
): Promise<void> {
  const sagas = await sagasOf(parts)
  await parts.unitOfWork(async (tx) => {
    await sagas.store(tx, key, next(await sagas.load(tx, key)))
  })
}

const fields = (found: SagaInstance | undefined): SagaInstance | undefined =>
  found && {
    id: found.id,
    version: found.version,
    state: found.state,
    timeouts: found.timeouts,
  }

/** Counts up in `first`, and meanwhile in `second`, which must wait. Returns what is there then. */
async function race(harness: SagaHarness, begin: SagaInstance | undefined): Promise<unknown> {
  await using first = await harness.open()
  await using second = await harness.open()
  const sagas = await sagasOf(first)
  if (begin !== undefined) await change(first, () => begin)
  const next = (before: SagaInstance | undefined): SagaInstance =>
    instance(before === undefined ? 1 : Number(before.state) + 1)
  let rival: Promise<void> | undefined
  let ended = false
  await first.unitOfWork(async (tx) => {
    const before = await sagas.load(tx, order)
    rival = change(second, next).finally(() => (ended = true))
    await headStart(rival)
    assert.equal(ended, false, 'the second transaction did not wait for the first')
    await sagas.store(tx, order, next(before))
  })
  await rival
  return JSON.parse((await load(first))?.state ?? 'null')
}

/** What every store of sagas must do. */
export const sagaContract: readonly ContractCase<SagaHarness>[] = [
  {
    name: 'sagas: what was stored is loaded as it was, and by a store that is opened later',
    async run(harness) {
      const odd = instance(
        { text: 'ä\u{1f980}\u0000 "quoted" \\ %', number: 1e21, deep: [{ a: null }], order: 1 },
        { version: 7, timeouts: '{"last":3,"numbers":{"unpaid":3}}' },
      )
      const key = { app: 'shop', saga: 'order', key: "o'1 ä\u{1f980} %_" }
      {
        await using store = await harness.open()
        assert.equal(await load(store, key), undefined)
        await change(store, () => odd, key)
        assert.deepEqual(fields(await load(store, key)), odd)
      }
      await using store = await harness.open()
      assert.deepEqual(fields(await load(store, key)), odd)
    },
  },
  {
    name: 'sagas: a transaction sees what it has stored, and one that rolls back leaves what was',
    async run(harness) {
      await using store = await harness.open()
      const sagas = await sagasOf(store)
      await change(store, () => instance('before'))
      const unit = store.unitOfWork(async (tx) => {
        await sagas.load(tx, order)
        await sagas.store(tx, order, instance('after'))
        assert.equal((await sagas.load(tx, order))?.state, '"after"')
        await sagas.store(tx, order, undefined)
        assert.equal(await sagas.load(tx, order), undefined)
        throw new Error('rolled back')
      })
      await assert.rejects(unit, { message: 'rolled back' })
      assert.equal((await load(store))?.state, '"before"')
    },
  },
  {
    name: 'sagas: of two transactions with one key, the second waits, and sees what the first stored',
    run: async (harness) => assert.equal(await race(harness, instance(1)), 3),
  },
  {
    name: 'sagas: two transactions that would make an instance make one, one after the other',
    run: async (harness) => assert.equal(await race(harness, undefined), 2),
  },
  {
    name: 'sagas: many transactions at once lose no change',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await sagasOf(store)
      const next = (before: SagaInstance | undefined): SagaInstance =>
        instance(Number(before?.state ?? 0) + 1)
      const all = Array.from({ length: 12 }, (_, index) =>
        change(index % 2 === 0 ? store : other, next),
      )
      await Promise.all(all)
      assert.equal((await load(store))?.state, '12')
    },
  },
  {
    name: 'sagas: apps, sagas and keys are told apart, also by case and by blanks',
    async run(harness) {
      await using store = await harness.open()
      const keys = ['o1', 'O1', 'o1 ', ' o1'].flatMap((key) => [
        { app: 'shop', saga: 'order', key },
        { app: 'shop', saga: 'Order', key },
        { app: 'shop.order', saga: 'order', key },
      ])
      for (const [index, key] of keys.entries()) await change(store, () => instance(index), key)
      for (const [index, key] of keys.entries())
        assert.equal((await load(store, key))?.state, String(index), JSON.stringify(key))
    },
  },
  {
    name: 'sagas: what is removed is gone, and a later one begins anew',
    async run(harness) {
      await using store = await harness.open()
      await change(store, () => instance('first'))
      await change(store, () => undefined)
      assert.equal(await load(store), undefined)
      const id = '018f0000-0000-7000-8000-000000000002'
      await change(store, () => instance('second', { id }))
      assert.equal((await load(store))?.id, id)
    },
  },
  {
    name: 'sagas: the list shows them in order, in parts, and by app, saga and key',
    async run(harness) {
      await using store = await harness.open()
      const sagas = await sagasOf(store)
      const names = ['a', 'b', 'c', 'ä', 'B']
      for (const key of names) await change(store, () => instance(key), { ...order, key })
      await change(store, () => instance('other'), { ...order, saga: 'refund' })
      const sorted = ['B', 'a', 'b', 'c', 'ä']
      const all = await sagas.list({ app: 'shop', saga: 'order', limit: 10 })
      assert.deepEqual(
        all.map(({ key }) => key),
        sorted,
      )
      const [first] = await sagas.list({ limit: 1 })
      assert.equal(first?.key, 'B')
      assert.ok(first !== undefined && first.createdAt <= first.updatedAt)
      const rest = await sagas.list({ after: first, limit: 3 })
      assert.deepEqual(
        rest.map(({ key }) => key),
        ['a', 'b', 'c'],
      )
      const one = await sagas.list({ app: 'shop', saga: 'refund', key: 'o1', limit: 10 })
      assert.deepEqual(one.map(fields), [instance('other')])
      assert.deepEqual(await sagas.list({ app: 'other', limit: 10 }), [])
    },
  },
  {
    name: 'sagas: a change keeps the time of the beginning, a new instance has one of its own',
    async run(harness) {
      await using store = await harness.open()
      const sagas = await sagasOf(store)
      const times = async (): Promise<readonly [number, number]> => {
        const [found] = await sagas.list({ limit: 1 })
        return [found?.createdAt ?? 0, found?.updatedAt ?? 0]
      }
      await change(store, () => instance(1))
      const [created] = await times()
      await harness.elapse(20)
      await change(store, () => instance(2))
      const [still, updated] = await times()
      assert.equal(still, created)
      assert.ok(updated > created)
    },
  },
]
