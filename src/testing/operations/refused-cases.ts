import assert from 'node:assert/strict'
import { destinationKey } from '../../core/messages/message.ts'
import type { RefusedMessage } from '../../core/operations.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  dead,
  destination,
  labels,
  LONG_MS,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  release,
  retry,
  sent,
} from '../outbox/harness.ts'
import { partOf } from './parts.ts'

const refused = (
  store: OutboxParts,
  query?: { readonly limit?: number; readonly after?: string },
): Promise<readonly RefusedMessage[]> => partOf(store, 'refused')(query)

const labelsOf = (found: readonly RefusedMessage[]): readonly string[] =>
  found.map(({ type }) => type.replace('contract.', ''))

/** Claims everything that is due, and settles each by its label; the others are given back. */
async function fail(store: OutboxParts, delayMs: number, ...which: string[]): Promise<void> {
  const rows = await claim(store)
  const settlements = rows.map((row) =>
    which.includes(labels([row])[0] ?? '') ? retry(row, delayMs) : release(row),
  )
  assert.deepEqual(await store.outbox.settle(settlements), { stale: 0 })
}

/** Messages that have failed and are still open. */
export const refusedCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'refused: what was tried in vain is listed with its attempts, and nothing else is',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      const keyed = message('keyed', { partitionKey: 'k' })
      await commit(store, [message('fresh'), keyed, message('dead')])
      assert.deepEqual(await refused(store), [])
      await fail(store, 0, 'keyed')
      await fail(store, LONG_MS, 'keyed')
      const burial = (await claim(store)).map((row) =>
        labels([row])[0] === 'dead' ? dead(row, 'skip') : release(row),
      )
      await store.outbox.settle(burial)
      const found = only(await refused(other))
      const { id, type, place, partitionKey, attempts, history, dueAt } = found
      assert.deepEqual(
        [id, type, place, partitionKey, attempts],
        [keyed.id, keyed.type, destinationKey(destination), 'k', 2],
      )
      assert.deepEqual(
        history.map(({ attempt, error }) => [attempt, error]),
        [1, 2].map((attempt) => [attempt, 'Error: the broker said no']),
      )
      const triedAt = history.at(-1)?.at ?? 0
      assert.ok(Math.abs(dueAt - triedAt - LONG_MS) <= 5000, 'it is due at another time')
    },
  },
  {
    name: 'refused: one that is being tried again is still listed, and gone when it is sent or dead',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('2', { partitionKey: 'k' })])
      await fail(store, 0, '1', '2')
      const rows = await claim(store)
      assert.deepEqual(labelsOf(await refused(store)), ['1', '2'])
      assert.deepEqual(
        (await refused(store)).map(({ attempts }) => attempts),
        [2, 2],
      )
      const settlements = rows.map((row) =>
        labels([row])[0] === '1' ? sent(row) : dead(row, 'block-key'),
      )
      await store.outbox.settle(settlements)
      assert.deepEqual(await refused(store), [])
      const letter = only(await store.admin.deadLetters.list())
      assert.deepEqual([letter.history.length, letter.blocksKey], [2, true])
      assert.equal(await store.admin.deadLetters.retry([letter.key]), 1)
      assert.deepEqual(await refused(store), [])
    },
  },
  {
    name: 'refused: the list has pages, and a strange key finds nothing',
    async run(harness) {
      await using store = await harness.open()
      const all = ['1', '2', '3', '4', '5']
      await commit(
        store,
        all.map((label) => message(label)),
      )
      await fail(store, LONG_MS, ...all)
      const first = await refused(store, { limit: 2 })
      const second = await refused(store, { limit: 2, after: first.at(-1)?.key ?? '' })
      const last = await refused(store, { after: second.at(-1)?.key ?? '' })
      assert.deepEqual([first, second, last].flatMap(labelsOf), all)
      assert.deepEqual([first.length, second.length], [2, 2])
      assert.deepEqual(await refused(store, { after: 'strange' }), [])
      await assert.rejects(refused(store, { limit: 0 }), { code: 'MERSAL_INVALID_OPTIONS' })
    },
  },
]
