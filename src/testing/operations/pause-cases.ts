import assert from 'node:assert/strict'
import type { PauseBoard } from '../../core/operations.ts'
import type { ContractCase } from '../contract.ts'
import {
  message,
  commit,
  type OutboxHarness,
  type OutboxParts,
  PASSED_MS,
} from '../outbox/harness.ts'
import { partOf } from './parts.ts'

const orders = { kind: 'destination', name: 'default/queue/orders' } as const
const key = { kind: 'key', name: 'default/queue/orders' } as const

const pausesOf = (store: OutboxParts): PauseBoard => partOf(store, 'pauses')

/** What operators have paused, as every store on the database sees it. */
export const pauseCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'pauses: every store knows what one has paused, why and since when, until it is resumed',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      assert.deepEqual(await pausesOf(other).list(), [])
      assert.equal(await pausesOf(store).pause(orders, 'they are moving'), true)
      await harness.elapse(PASSED_MS)
      assert.equal(await pausesOf(store).pause({ kind: 'key', name: 'k' }, ''), true)
      const [first, second, ...more] = await pausesOf(other).list()
      assert.ok(first !== undefined && second !== undefined && more.length === 0)
      assert.deepEqual(
        [first.kind, first.name, first.reason],
        [orders.kind, orders.name, 'they are moving'],
      )
      assert.deepEqual([second.kind, second.name, second.reason], ['key', 'k', ''])
      assert.ok(Number.isSafeInteger(first.since) && second.since - first.since >= PASSED_MS)
      assert.equal(await pausesOf(other).resume(orders), true)
      assert.deepEqual(
        (await pausesOf(store).list()).map(({ name }) => name),
        ['k'],
      )
    },
  },
  {
    name: 'pauses: what is paused already keeps its time and gets the new reason',
    async run(harness) {
      await using store = await harness.open()
      const board = pausesOf(store)
      assert.equal(await board.pause(orders, 'first'), true)
      const [before] = await board.list()
      await harness.elapse(PASSED_MS)
      assert.equal(await board.pause(orders, 'second'), false)
      const [after, ...more] = await board.list()
      assert.deepEqual([after?.reason, after?.since, more.length], ['second', before?.since, 0])
    },
  },
  {
    name: 'pauses: a destination and a key of the same name are two, and what is not paused is not resumed',
    async run(harness) {
      await using store = await harness.open()
      const board = pausesOf(store)
      await board.pause(orders, '')
      await board.pause(key, '')
      assert.equal((await board.list()).length, 2)
      assert.equal(await board.resume(key), true)
      assert.equal(await board.resume(key), false)
      assert.deepEqual(
        (await board.list()).map(({ kind }) => kind),
        ['destination'],
      )
    },
  },
  {
    name: 'pauses: names in any script, with quotes and of full length survive',
    async run(harness) {
      await using store = await harness.open()
      const board = pausesOf(store)
      const names = ["o'brien", '注文-Ångström', '"%_\\', 'k'.repeat(255)]
      for (const name of names) assert.equal(await board.pause({ kind: 'key', name }, name), true)
      const found = new Map((await board.list()).map(({ name, reason }) => [name, reason]))
      assert.deepEqual(found, new Map(names.map((name) => [name, name])))
      for (const name of names) assert.equal(await board.resume({ kind: 'key', name }), true)
      assert.deepEqual(await board.list(), [])
    },
  },
  {
    name: 'pauses: messages are saved while their destination is paused',
    async run(harness) {
      await using store = await harness.open()
      await pausesOf(store).pause({ kind: 'destination', name: 'default/queue/contract' }, '')
      await commit(store, [message('1')])
      assert.equal((await store.admin.stats()).pending, 1)
    },
  },
]
