import assert from 'node:assert/strict'
import { isMersalError } from '../../core/errors/errors.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  headStart,
  keyed,
  labels,
  message,
  type OutboxHarness,
  sent,
} from './harness.ts'

/**
 * Messages exist if and only if the transaction commits, and positions of a key follow its commits.
 */
export const saveCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'a committed transaction leaves its business row and its message',
    async run(harness) {
      await using store = await harness.open()
      const result = await store.unitOfWork(async (tx) => {
        await harness.write(tx, 'ada')
        await store.outbox.save(tx, [message('ada')])
        return 42
      })
      assert.equal(result, 42)
      assert.deepEqual(await harness.read(), ['ada'])
      assert.deepEqual(labels(await claim(store)), ['ada'])
    },
  },
  {
    name: 'a transaction that throws leaves neither business row nor message, and throws the same error',
    async run(harness) {
      await using store = await harness.open()
      const failure = new Error('changed my mind')
      const unit = store.unitOfWork(async (tx) => {
        await harness.write(tx, 'ada')
        await store.outbox.save(tx, [message('unkeyed'), ...keyed('ada', 'keyed')])
        throw failure
      })
      await assert.rejects(unit, (error) => error === failure)
      assert.deepEqual(await harness.read(), [])
      assert.deepEqual(await claim(store), [])
      await commit(store, keyed('ada', 'after'))
      assert.deepEqual(labels(await claim(store)), ['after'])
    },
  },
  {
    name: 'a message is invisible before its transaction commits',
    async run(harness) {
      await using writer = await harness.open()
      await using relay = await harness.open()
      let early: ReturnType<typeof claim> | undefined
      const unit = writer.unitOfWork(async (tx) => {
        await writer.outbox.save(tx, [message('phantom')])
        early = claim(relay)
        await headStart(early)
        throw new Error('rolled back')
      })
      await assert.rejects(unit, { message: 'rolled back' })
      assert.deepEqual(await early, [])
    },
  },
  {
    name: 'positions rise in the order of the messages, over all saves of a transaction',
    async run(harness) {
      await using store = await harness.open()
      const saved = await store.unitOfWork(async (tx) => [
        ...(await store.outbox.save(tx, [message('1'), ...keyed('k', '2'), message('3')])),
        ...(await store.outbox.save(tx, [...keyed('k', '4'), message('5')])),
      ])
      const positions = saved.map(({ position }) => position)
      assert.equal(new Set(positions).size, 5)
      assert.deepEqual(
        positions,
        positions.toSorted((left, right) => Number(left - right)),
      )
      const rows = await claim(store)
      assert.deepEqual(labels(rows), ['1', '2', '3', '4', '5'])
      assert.deepEqual(
        rows.map(({ position }) => position),
        positions,
      )
    },
  },
  {
    name: 'saving no messages changes nothing',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(await commit(store, []), [])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'a transaction may save thousands of messages at once, and they can be claimed and settled at once',
    async run(harness) {
      await using store = await harness.open()
      const count = 7000
      const saved = await commit(
        store,
        Array.from({ length: count }, (_, index) =>
          message(`${index}`, index % 2 === 0 ? {} : { partitionKey: `k${index % 40}` }),
        ),
      )
      assert.equal(saved.length, count)
      const rows = await claim(store, { limit: count })
      assert.deepEqual(
        labels(rows),
        Array.from({ length: count }, (_, index) => `${index}`),
      )
      assert.deepEqual(await store.outbox.settle(rows.map(sent)), { stale: 0 })
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'what is no open transaction is refused, and nothing is stored',
    async run(harness) {
      await using store = await harness.open()
      const ended = await store.unitOfWork((tx) => Promise.resolve({ tx }))
      let rolledBack: unknown
      const unit = store.unitOfWork((tx) => {
        rolledBack = tx
        return Promise.reject(new Error('rolled back'))
      })
      await assert.rejects(unit)
      const strangers = [
        undefined,
        null,
        'tx',
        {},
        store,
        ended.tx,
        rolledBack,
        ...(harness.strangers ?? []),
      ]
      for (const [index, stranger] of strangers.entries()) {
        const refused = Promise.resolve().then(() =>
          store.outbox.save(stranger, [message('stray')]),
        )
        await assert.rejects(
          refused,
          (error) => isMersalError(error, 'MERSAL_NOT_A_TRANSACTION'),
          `stranger number ${index}`,
        )
      }
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'a unit of work under an aborted signal does not begin',
    async run(harness) {
      await using store = await harness.open()
      let begun = false
      const unit = async (): Promise<void> =>
        store.unitOfWork(
          () => {
            begun = true
            return Promise.resolve()
          },
          { signal: AbortSignal.abort(new Error('too late')) },
        )
      await assert.rejects(unit(), { message: 'too late' })
      assert.equal(begun, false)
    },
  },
  {
    name: 'of one key, the order of positions is the order of commits',
    async run(harness) {
      await using first = await harness.open()
      await using second = await harness.open()
      await using relay = await harness.open()
      let rival: Promise<unknown> = Promise.resolve()
      let early: ReturnType<typeof claim> | undefined
      await first.unitOfWork(async (tx) => {
        await first.outbox.save(tx, keyed('k', 'first'))
        rival = commit(second, keyed('k', 'second'))
        await headStart(rival)
        early = claim(relay)
        await headStart(early)
      })
      await rival
      const seen = [...((await early) ?? [])]
      await relay.outbox.settle(seen.map(sent))
      seen.push(...(await claim(relay)))
      assert.deepEqual(labels(seen), ['first', 'second'])
      const [left, right] = seen
      assert.ok(left !== undefined && right !== undefined && left.position < right.position)
    },
  },
  {
    name: 'writers that name the same keys in different orders all commit',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const keys = ['a', 'b', 'c', 'd']
      const writers = Array.from({ length: 12 }, (_, index) => {
        const order = keys.map(
          (_, place) => keys[(place * (index % 2 === 0 ? 1 : 3) + index) % 4] as string,
        )
        return commit(index % 3 === 0 ? other : store, [
          ...order.flatMap((key) => keyed(key, key)),
          message('unkeyed'),
        ])
      })
      assert.equal((await Promise.all(writers)).flat().length, 60)
      assert.equal((await claim(store)).length, 60)
    },
  },
  {
    name: 'a row that commits late under a low position is found by the next scan from the start',
    async run(harness) {
      await using late = await harness.open()
      await using store = await harness.open()
      let meanwhile: Promise<readonly string[]> = Promise.resolve([])
      await late.unitOfWork(async (tx) => {
        await late.outbox.save(tx, [message('late')])
        meanwhile = commit(store, [message('early')]).then(async () => labels(await claim(store)))
        await headStart(meanwhile)
      })
      assert.deepEqual([...(await meanwhile), ...labels(await claim(store))].toSorted(), [
        'early',
        'late',
      ])
    },
  },
  {
    name: 'opening again, also by many at once, changes nothing',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('kept')])
      await store.open()
      const others = await Promise.all(Array.from({ length: 6 }, () => harness.open()))
      try {
        await Promise.all(others.map((other) => other.open()))
      } finally {
        for (const other of others) await other[Symbol.asyncDispose]()
      }
      assert.deepEqual(labels(await claim(store)), ['kept'])
    },
  },
  {
    name: 'what was committed is found by a store that is opened later',
    async run(harness) {
      {
        await using store = await harness.open()
        await commit(store, [message('1'), ...keyed('k', '2')])
      }
      await using store = await harness.open()
      assert.deepEqual(labels(await claim(store)), ['1', '2'])
    },
  },
]
