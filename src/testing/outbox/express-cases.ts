import assert from 'node:assert/strict'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { SavedRow, Settlement } from '../../core/outbox.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  headStart,
  keyed,
  labels,
  LONG_MS,
  message,
  newToken,
  only,
  type OutboxHarness,
  type OutboxParts,
  PASSED_MS,
  release,
  SHORT_MS,
} from './harness.ts'

/** Saves in a transaction of their own and asks for the express lane. */
function express(
  store: OutboxParts,
  messages: readonly OutgoingMessage[],
  options: { readonly token?: string; readonly graceMs?: number } = {},
): Promise<readonly SavedRow[]> {
  const { token = newToken(), graceMs = LONG_MS } = options
  return store.unitOfWork((tx) => store.outbox.save(tx, messages, { express: { token, graceMs } }))
}

const granted = (saved: readonly SavedRow[]): boolean[] =>
  saved.map(({ kind }) => kind === 'born-claimed')

/** Rows that are born claimed, for the writer to publish itself after its commit. */
export const expressCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'nothing is born claimed unless it was asked for',
    async run(harness) {
      await using store = await harness.open()
      assert.deepEqual(granted(await commit(store, [message('1'), ...keyed('k', '2')])), [
        false,
        false,
      ])
      assert.equal((await claim(store)).length, 2)
    },
  },
  {
    name: 'a row that is born claimed is left alone by others, and settled by its writer',
    async run(harness) {
      await using store = await harness.open()
      await using relay = await harness.open()
      const token = newToken()
      const saved = await express(store, [message('1'), ...keyed('k', '2')], { token })
      assert.deepEqual(granted(saved), [true, true])
      assert.deepEqual(await claim(relay), [])
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.claimed], [2, 2])
      const settlements = saved.map(
        ({ position }): Settlement => ({ kind: 'sent', position, token }),
      )
      assert.deepEqual(await store.outbox.settle(settlements), { stale: 0 })
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'when the writer dies, a relay finds its row after the grace, as a first attempt, and the writer is fenced',
    async run(harness) {
      await using store = await harness.open()
      await using relay = await harness.open()
      const token = newToken()
      const saved = only(await express(store, [message('1')], { token, graceMs: SHORT_MS }))
      await harness.elapse(PASSED_MS)
      const row = only(await claim(relay))
      assert.deepEqual([row.position, row.attempt], [saved.position, 1])
      assert.deepEqual(
        await store.outbox.settle([{ kind: 'sent', position: saved.position, token }]),
        { stale: 1 },
      )
      assert.equal((await store.admin.stats()).pending, 1)
    },
  },
  {
    name: 'a row that its writer gives back has no attempt counted',
    async run(harness) {
      await using store = await harness.open()
      const token = newToken()
      const saved = only(await express(store, [message('1')], { token }))
      assert.deepEqual(
        await store.outbox.settle([{ kind: 'release', position: saved.position, token }]),
        { stale: 0 },
      )
      assert.equal(only(await claim(store)).attempt, 1)
    },
  },
  {
    name: 'a transaction that rolls back leaves no row that was to be born claimed',
    async run(harness) {
      await using store = await harness.open()
      const token = newToken()
      const unit = store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message('1'), ...keyed('k', '2')], {
          express: { token, graceMs: SHORT_MS },
        })
        throw new Error('rolled back')
      })
      await assert.rejects(unit, { message: 'rolled back' })
      await harness.elapse(PASSED_MS)
      assert.deepEqual(await claim(store), [])
      assert.equal((await store.admin.stats()).pending, 0)
    },
  },
  {
    name: 'all messages of one key in one save may be born claimed',
    async run(harness) {
      await using store = await harness.open()
      const saved = await express(store, [
        ...keyed('k', '1', '2', '3'),
        ...keyed('l', '4'),
        message('5'),
      ])
      assert.deepEqual(granted(saved), [true, true, true, true, true])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'a keyed message is born free while another open row of its key exists, be it free, held, or due later',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        ...keyed('free', '1'),
        ...keyed('held', '2'),
        message('3', { partitionKey: 'later', delayMs: LONG_MS }),
      ])
      const rows = await claim(store)
      await store.outbox.settle(
        rows.filter((row) => labels([row])[0] === '1').map((row) => release(row)),
      )
      const saved = await express(store, [
        ...keyed('free', '4'),
        ...keyed('held', '5'),
        ...keyed('later', '6'),
        ...keyed('new', '7'),
      ])
      assert.deepEqual(granted(saved), [false, false, false, true])
      assert.deepEqual(labels(await claim(store)), ['1', '4'])
    },
  },
  {
    name: 'a keyed message is born free behind one of its key that is born claimed, and both keep their order',
    async run(harness) {
      await using store = await harness.open()
      const token = newToken()
      const first = only(await express(store, keyed('k', '1'), { token }))
      assert.deepEqual(granted(await express(store, keyed('k', '2'))), [false])
      assert.deepEqual(await claim(store), [])
      await store.outbox.settle([{ kind: 'sent', position: first.position, token }])
      assert.deepEqual(labels(await claim(store)), ['2'])
    },
  },
  {
    name: 'a delayed message is born free, and so are the later ones of its key in the same save',
    async run(harness) {
      await using store = await harness.open()
      const slow = { delayMs: LONG_MS }
      const saved = await express(store, [
        message('1', slow),
        ...keyed('k', '2'),
        message('3', { ...slow, partitionKey: 'k' }),
        ...keyed('k', '4'),
        ...keyed('l', '5'),
      ])
      assert.deepEqual(granted(saved), [false, true, false, false, true])
      assert.deepEqual(await claim(store), [])
    },
  },
  {
    name: 'a keyed message is born free behind one that its own transaction has saved free',
    async run(harness) {
      await using store = await harness.open()
      const saved = await store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, keyed('k', '1'))
        return store.outbox.save(tx, keyed('k', '2'), {
          express: { token: newToken(), graceMs: LONG_MS },
        })
      })
      assert.deepEqual(granted(saved), [false])
      assert.deepEqual(labels(await claim(store)), ['1', '2'])
    },
  },
  {
    name: 'a writer that waited for its key sees the row of the one that it waited for',
    async run(harness) {
      await using first = await harness.open()
      await using second = await harness.open()
      let rival: Promise<readonly SavedRow[]> | undefined
      await first.unitOfWork(async (tx) => {
        await first.outbox.save(tx, keyed('k', '1'))
        rival = express(second, keyed('k', '2'))
        await headStart(rival)
      })
      assert.deepEqual(granted((await rival) ?? []), [false])
      assert.deepEqual(labels(await claim(first)), ['1', '2'])
    },
  },
]
