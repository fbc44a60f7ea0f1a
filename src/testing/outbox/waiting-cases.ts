import assert from 'node:assert/strict'
import type { Upcoming } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  destination,
  keyed,
  labels,
  LONG_MS,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  PASSED_MS,
  release,
  retry,
  SHORT_MS,
} from './harness.ts'

const HOUR_MS = 3_600_000
/** More than any case takes. */
const SOME_MS = 60_000
const down = { transport: 'default', kind: 'topic', name: 'down' } as const

async function upcoming(store: OutboxParts, limit = 100): Promise<readonly Upcoming[]> {
  const { waiting } = store.outbox
  assert.ok(waiting !== undefined, 'the storage tells what falls due')
  return await waiting.upcoming({ limit })
}

const positionsOf = (rows: readonly { readonly position?: bigint }[]): bigint[] =>
  rows.map(({ position }) => position ?? -1n)

/**
 * Which delayed rows fall due next, and claims of such rows. A storage that does not tell the one
 * leaves out the cases that begin with `waiting`.
 */
export const waitingCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'waiting: delayed rows are told with their positions and times, those that end first',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(await upcoming(store), [])
      const third = await commit(store, [message('third', { delayMs: 3 * HOUR_MS })])
      const others = await commit(store, [
        message('now'),
        message('first', { delayMs: HOUR_MS }),
        message('second', { delayMs: 2 * HOUR_MS, partitionKey: 'k' }),
      ])
      const sorted = [...positionsOf(others.slice(1)), ...positionsOf(third)]
      const told = await upcoming(store)
      assert.deepEqual(positionsOf(told), sorted)
      for (const [index, { inMs }] of told.entries()) {
        const hours = (index + 1) * HOUR_MS
        assert.ok(inMs > hours - SOME_MS && inMs <= hours + 1000, `${inMs} of ${hours}`)
      }
      assert.deepEqual(positionsOf(await upcoming(store, 2)), sorted.slice(0, 2))
    },
  },
  {
    name: 'waiting: a delayed row alone in its unit is told, with a key and without, asked for the express lane or not',
    async run(harness) {
      await using store = await harness.open()
      const express = { token: '0190a0b0-0000-7000-8000-000000000001', graceMs: LONG_MS }
      const rows: bigint[] = []
      for (const partitionKey of [undefined, 'k'])
        for (const options of [{}, { express }]) {
          const key = partitionKey === undefined ? {} : { partitionKey }
          const delayed = message('later', { delayMs: LONG_MS, ...key })
          const saved = await store.unitOfWork((tx) => store.outbox.save(tx, [delayed], options))
          assert.equal(only(saved).kind, 'row')
          rows.push(only(saved).position)
        }
      const both = [message('now'), message('later', { delayMs: LONG_MS })]
      const saved = await store.unitOfWork((tx) => store.outbox.save(tx, both, { express }))
      assert.deepEqual(
        saved.map(({ kind }) => kind),
        ['born-claimed', 'row'],
      )
      rows.push(...positionsOf(saved.slice(1)))
      assert.deepEqual(new Set(positionsOf(await upcoming(store))), new Set(rows))
    },
  },
  {
    name: 'waiting: a time that has come is not told, whether the row was claimed or not',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('soon', { delayMs: SHORT_MS })])
      const row = only(await upcoming(store))
      assert.ok(row.inMs > 0 && row.inMs <= SHORT_MS + 1, `${row.inMs} ms`)
      await harness.elapse(PASSED_MS)
      assert.deepEqual(await upcoming(store), [])
      const held = only(await claim(store, { positions: [row.position] }))
      assert.equal(held.position, row.position)
      assert.deepEqual(await upcoming(store), [])
    },
  },
  {
    name: 'a delay counts from when the row is saved: a row whose time comes before its commit is due with it',
    async run(harness) {
      await using store = await harness.open()
      const saved = await store.unitOfWork(async (tx) => {
        const rows = await store.outbox.save(tx, [message('long', { delayMs: SHORT_MS })])
        await harness.elapse(PASSED_MS)
        return rows
      })
      const row = only(await claim(store))
      assert.deepEqual(labels([row]), ['long'])
      assert.equal(row.position, only(saved).position)
    },
  },
  {
    name: 'waiting: what a relay gave back with a delay is not told',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('released'), message('refused')])
      const [released, refused] = await claim(store)
      assert.ok(released !== undefined && refused !== undefined)
      await store.outbox.settle([release(released, LONG_MS), retry(refused, LONG_MS)])
      assert.deepEqual(await upcoming(store), [])
    },
  },
  {
    name: 'waiting: rows of a transaction that was rolled back are not told',
    async run(harness) {
      await using store = await harness.open()
      const failing = store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message('never', { delayMs: LONG_MS })])
        throw new Error('rolled back')
      })
      await assert.rejects(failing, /rolled back/)
      assert.deepEqual(await upcoming(store), [])
    },
  },
  {
    name: 'a claim of positions takes those rows that are due, and no others',
    async run(harness) {
      await using store = await harness.open()
      const saved = positionsOf(
        await commit(store, [
          message('a'),
          message('b'),
          message('c', { delayMs: LONG_MS }),
          message('d', { to: down }),
          message('e'),
        ]),
      )
      const asked = [saved[4], saved[1], saved[2], saved[3], saved[1], 999_999n].map(
        (position) => position ?? 0n,
      )
      const except = { exceptDestinations: ['default/topic/down'] }
      const rows = await claim(store, { positions: asked, ...except })
      assert.deepEqual(labels(rows), ['b', 'e'])
      assert.deepEqual(await claim(store, { positions: asked, ...except }), [])
      assert.deepEqual(labels(await claim(store)), ['a', 'd'])
    },
  },
  {
    name: 'P5: a claim of positions takes no row before an earlier one of its key',
    async run(harness) {
      await using store = await harness.open()
      const rows = await commit(store, [...keyed('k', 'k1', 'k2', 'k3'), message('a')])
      const [first, second, third, free] = positionsOf(rows)
      assert.ok(first && second && third && free)
      assert.deepEqual(labels(await claim(store, { positions: [second, third, free] })), ['a'])
      assert.deepEqual(labels(await claim(store, { positions: [first, second] })), ['k1', 'k2'])
      assert.deepEqual(await claim(store, { positions: [third] }), [])
      // The first of this key is asked for, too, and is not due.
      const waits = [
        message('w1', { partitionKey: 'w', delayMs: LONG_MS }),
        message('w2', { partitionKey: 'w' }),
      ]
      const later = positionsOf(await commit(store, waits))
      assert.deepEqual(await claim(store, { positions: later }), [])
    },
  },
  {
    name: 'a claim of positions has a limit, and of no positions takes nothing',
    async run(harness) {
      await using store = await harness.open()
      const saved = await commit(store, [
        message('1'),
        message('2'),
        message('3', { to: destination }),
      ])
      assert.deepEqual(await claim(store, { positions: [] }), [])
      const rows = await claim(store, { positions: positionsOf(saved), limit: 2 })
      assert.deepEqual(labels(rows), ['1', '2'])
    },
  },
]
