import assert from 'node:assert/strict'
import { TextDecoder, TextEncoder } from 'node:util'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { type ContractCase, traceOfSender } from '../contract.ts'
import { claim, commit, message, only, type OutboxHarness } from './harness.ts'

/** Commits one message and returns what a claim gives for it. */
async function roundTrip(harness: OutboxHarness, given: OutgoingMessage): Promise<OutgoingMessage> {
  await using store = await harness.open()
  await commit(store, [given])
  return only(await claim(store)).message
}

async function bodySurvives(harness: OutboxHarness, body: Uint8Array): Promise<void> {
  const found = await roundTrip(harness, message('bytes', { body }))
  assert.equal(found.body.length, body.length)
  assert.ok(Buffer.from(found.body).equals(body), 'the bytes have changed')
}

/** Bytes, headers and names come out as they went in. */
export const fidelityCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'every byte value survives, and bytes that are no UTF-8',
    run: (harness) =>
      bodySurvives(
        harness,
        Uint8Array.from({ length: 1024 }, (_, index) => (index * 37) % 256),
      ),
  },
  { name: 'an empty body survives', run: (harness) => bodySurvives(harness, new Uint8Array()) },
  {
    name: 'a body of 1 MB survives',
    run: (harness) =>
      bodySurvives(
        harness,
        Uint8Array.from({ length: 1_000_000 }, (_, index) => (index ^ (index >>> 8)) & 255),
      ),
  },
  {
    name: 'a body that is a window of a larger buffer survives, without its surroundings',
    run: (harness) => bodySurvives(harness, Buffer.from('xxhelloxx').subarray(2, 7)),
  },
  {
    name: 'a message that is changed after it was saved is stored as it was saved',
    async run(harness) {
      await using store = await harness.open()
      const body = new TextEncoder().encode('before')
      const headers: Record<string, string> = { note: 'before' }
      await store.unitOfWork(async (tx) => {
        const saving = store.outbox.save(tx, [message('1', { body, headers })])
        await saving
        body.fill(0)
        headers['note'] = 'after'
      })
      const found = only(await claim(store)).message
      assert.equal(new TextDecoder().decode(found.body), 'before')
      assert.deepEqual({ ...found.headers }, { note: 'before' })
    },
  },
  {
    name: 'id, type, headers, destination and key survive, in any script',
    async run(harness) {
      const headers = {
        'x-name': 'Zoë Ångström',
        'x-long': 'ü'.repeat(2000),
        'x-empty': '',
        'x-quotes': `"'\\ %s $1 ? :name {}`,
        'x-emoji': '👩‍👩‍👧‍👦 𝕏',
        'x-right-to-left': 'שלום مرحبا',
        constructor: 'a header, not a function',
        ...traceOfSender,
        'a.b_c-d': '1',
      }
      const to = { transport: 'other', kind: 'topic', name: 'orders/placed:v1.2' } as const
      const given = message('everything', { headers, to, partitionKey: 'ключ 鍵 "\'\\%' })
      const found = await roundTrip(harness, given)
      assert.deepEqual(
        [found.id, found.type, found.partitionKey],
        [given.id, given.type, given.partitionKey],
      )
      assert.deepEqual({ ...found.headers }, headers)
      assert.deepEqual({ ...found.to }, to)
    },
  },
  {
    name: 'a message without headers and without a key has none afterwards',
    async run(harness) {
      const found = await roundTrip(harness, message('bare', { headers: {} }))
      assert.deepEqual({ ...found.headers }, {})
      assert.equal(found.partitionKey, undefined)
    },
  },
  {
    name: 'keys that differ only in case, in trailing blanks or in their Unicode form are different keys',
    async run(harness) {
      await using store = await harness.open()
      const keys = ['k', 'K', 'k ', ' k', '\u00e9', 'e\u0301']
      await commit(
        store,
        keys.map((partitionKey, index) => message(`${index}`, { partitionKey })),
      )
      const first = await claim(store, { limit: 1 })
      const rest = await claim(store)
      assert.deepEqual(
        [...first, ...rest].map((row) => row.message.partitionKey),
        keys,
      )
    },
  },
]
