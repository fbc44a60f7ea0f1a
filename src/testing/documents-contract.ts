import assert from 'node:assert/strict'
import type { DocumentKey, DocumentStorage, HeldDocument } from '../core/documents.ts'
import type { OutgoingMessage } from '../core/messages/message.ts'
import { uuidv7 } from '../lib/uuid.ts'
import type { ContractCase, HarnessTime } from './contract.ts'

/** What an adapter supplies to run the documents suite: a database that nobody else uses. */
export interface DocumentsHarness extends HarnessTime, AsyncDisposable {
  /** May be called several times: each has a connection of its own. */
  open(): Promise<DocumentStorage>
}

const key: DocumentKey = { collection: 'orders', id: 'o/1' }
const HOLD_MS = 200
const PASSED_MS = 300

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

function message(label: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return {
    id: uuidv7(Date.now()),
    type: `contract.${label}`,
    headers: { 'content-type': 'application/json', name: 'Zoë 日本語' },
    body: Uint8Array.from({ length: 256 }, (_, index) => 255 - index),
    to: { transport: 'default', kind: 'topic', name: `contract.${label}` },
    partitionKey: 'o1',
    ...extra,
  }
}

/** Stores a next state with messages of these labels; returns what it stored. */
async function change(
  storage: DocumentStorage,
  labels: readonly string[],
  which: DocumentKey = key,
): Promise<readonly OutgoingMessage[]> {
  const { version } = await storage.load(which)
  const messages = labels.map((label) => message(label))
  const state = bytesOf(`{"version":${version + 1}}`)
  assert.equal(await storage.save({ key: which, version, state, messages }), 'saved')
  return messages
}

let holds = 0

async function hold(
  storage: DocumentStorage,
  holdMs = 60_000,
): Promise<{ readonly token: string; readonly found: readonly HeldDocument[] }> {
  const token = `token-${++holds}`
  return { token, found: await storage.findWithMessages({ limit: 10, holdMs, token }) }
}

async function held(
  storage: DocumentStorage,
  holdMs?: number,
): Promise<HeldDocument & { readonly token: string }> {
  const { token, found } = await hold(storage, holdMs)
  const [only] = found
  if (only === undefined || found.length !== 1)
    assert.fail(`expected one document with messages, got ${found.length}`)
  return { ...only, token }
}

const labels = ({ messages }: HeldDocument): string[] =>
  messages.map(({ type }) => type.replace('contract.', ''))

const settled = { confirmed: 0, attempts: 0, retryMs: 0 }

const changes: readonly ContractCase<DocumentsHarness>[] = [
  {
    name: 'a document that was never stored has no state and the version 0',
    async run(harness) {
      const storage = await harness.open()
      assert.deepEqual(await storage.load(key), { state: undefined, version: 0, handled: false })
    },
  },
  {
    name: 'every change counts the version, and the state is read as it was stored',
    async run(harness) {
      const [storage, other] = [await harness.open(), await harness.open()]
      await change(storage, [])
      await change(other, [])
      const { state, version } = await storage.load(key)
      assert.deepEqual([textOf(state), version], ['{"version":2}', 2])
    },
  },
  {
    name: 'of changes of the same version one is stored, and the others leave nothing, not even messages',
    async run(harness) {
      const storages = await Promise.all([1, 2, 3, 4].map(() => harness.open()))
      const answers = await Promise.all(
        storages.map((storage, index) =>
          storage.save({
            key,
            version: 0,
            state: bytesOf(String(index)),
            messages: [message(String(index))],
          }),
        ),
      )
      assert.deepEqual(answers.toSorted(), ['conflict', 'conflict', 'conflict', 'saved'])
      const storage = storages[0] as DocumentStorage
      const winner = String(answers.indexOf('saved'))
      const { state, version } = await storage.load(key)
      assert.deepEqual([textOf(state), version], [winner, 1])
      assert.deepEqual(labels(await held(storage)), [winner])
    },
  },
  {
    name: 'a removal is a change: the version goes on, and messages that wait stay',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['before'])
      const messages = [message('gone')]
      assert.equal(await storage.save({ key, version: 1, state: undefined, messages }), 'saved')
      const { state, version } = await storage.load(key)
      assert.deepEqual([state, version], [undefined, 2])
      assert.equal(
        await storage.save({ key, version: 1, state: bytesOf('x'), messages: [] }),
        'conflict',
      )
      const document = await held(storage)
      assert.deepEqual(labels(document), ['before', 'gone'])
      assert.equal(await storage.removeMessages({ ...document, ...settled, confirmed: 2 }), true)
      assert.equal((await storage.load(key)).version, 2)
    },
  },
  {
    name: 'a message that is handled changes a document once, and says so; another consumer and another document are free',
    async run(harness) {
      const storage = await harness.open()
      const handling = { consumer: 'billing', messageId: uuidv7(Date.now()) }
      const save = (version: number, more: object = {}) =>
        storage.save({
          key,
          version,
          state: bytesOf('x'),
          messages: [message('m')],
          handling,
          ...more,
        })
      assert.equal((await storage.load(key, handling)).handled, false)
      assert.equal(await save(0), 'saved')
      assert.equal((await storage.load(key, handling)).handled, true)
      assert.equal(await save(1), 'handled')
      assert.equal(await save(0), 'handled')
      assert.equal((await storage.load(key)).version, 1)
      assert.deepEqual(labels(await held(storage)), ['m'])
      assert.equal(await save(1, { handling: { ...handling, consumer: 'stock' } }), 'saved')
      assert.equal(await save(0, { key: { ...key, id: 'o/2' } }), 'saved')
    },
  },
]

const relaying: readonly ContractCase<DocumentsHarness>[] = [
  {
    name: 'messages are found in their order and as they were, and only documents with messages are found',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, [], { collection: 'orders', id: 'silent' })
      const stored = [...(await change(storage, ['1', '2'])), ...(await change(storage, ['3']))]
      const { key: found, messages, attempts } = await held(storage)
      assert.deepEqual([found, attempts], [key, 1])
      assert.deepEqual(
        messages.map((one) => ({ ...one, body: [...one.body] })),
        stored.map((one) => ({ ...one, body: [...one.body] })),
      )
    },
  },
  {
    name: 'a document is held by one relay, comes to another one after the hold, and counts it',
    async run(harness) {
      const [storage, other] = [await harness.open(), await harness.open()]
      await change(storage, ['1'])
      await held(storage, HOLD_MS)
      assert.deepEqual((await hold(other)).found, [])
      await harness.elapse(PASSED_MS)
      assert.equal((await held(other)).attempts, 2)
    },
  },
  {
    name: 'what is confirmed is removed; the rest is found again, and what was stored meanwhile behind it',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2', '3'])
      const first = await held(storage)
      await change(storage, ['4'])
      assert.deepEqual((await hold(storage)).found, [])
      assert.equal(await storage.removeMessages({ ...first, ...settled, confirmed: 2 }), true)
      const second = await held(storage)
      assert.deepEqual([labels(second), second.attempts], [['3', '4'], 1])
      assert.equal(await storage.removeMessages({ ...second, ...settled, confirmed: 2 }), true)
      assert.deepEqual((await hold(storage)).found, [])
      await change(storage, ['5'])
      assert.deepEqual(labels(await held(storage)), ['5'])
    },
  },
  {
    name: 'a former holder changes nothing',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2'])
      const former = await held(storage, HOLD_MS)
      await harness.elapse(PASSED_MS)
      const present = await held(storage)
      const dead = { reason: 'refused', error: 'no' } as const
      assert.equal(await storage.removeMessages({ ...former, ...settled, confirmed: 1 }), false)
      assert.equal(await storage.removeMessages({ ...former, ...settled, dead }), false)
      assert.deepEqual(await storage.deadLetters.list(), [])
      assert.equal(await storage.removeMessages({ ...present, ...settled, confirmed: 1 }), true)
      assert.equal(await storage.removeMessages({ ...present, ...settled, confirmed: 1 }), false)
      assert.deepEqual(labels(await held(storage)), ['2'])
    },
  },
  {
    name: 'a retry waits, keeps the order, and the attempts are those that the relay says',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2'])
      const first = await held(storage)
      assert.equal(
        await storage.removeMessages({ ...first, ...settled, attempts: 4, retryMs: HOLD_MS }),
        true,
      )
      assert.deepEqual((await hold(storage)).found, [])
      await change(storage, ['3'])
      assert.deepEqual((await hold(storage)).found, [])
      await harness.elapse(PASSED_MS)
      const again = await held(storage)
      assert.deepEqual([labels(again), again.attempts], [['1', '2', '3'], 5])
    },
  },
  {
    name: 'at most so many documents are held as are asked for, those that have waited longest first',
    async run(harness) {
      const storage = await harness.open()
      for (const id of ['c', 'b', 'a']) {
        await change(storage, [id], { collection: 'orders', id })
        await harness.elapse(10)
      }
      const found = await storage.findWithMessages({ limit: 2, holdMs: 60_000, token: 't' })
      assert.deepEqual(
        found.map(({ key: { id } }) => id),
        ['c', 'b'],
      )
      const { found: rest } = await hold(storage)
      assert.deepEqual(
        rest.map(({ key: { id } }) => id),
        ['a'],
      )
    },
  },
]

const dying: readonly ContractCase<DocumentsHarness>[] = [
  {
    name: 'a message that is given up is a dead letter with its bytes, and those behind it go on; a retry puts it behind them',
    async run(harness) {
      const storage = await harness.open()
      const [, poison] = await change(storage, ['1', 'poison', '3'])
      assert.ok(poison !== undefined)
      const document = await held(storage)
      const dead = { reason: 'too-large', error: 'it has too many bytes' } as const
      assert.equal(
        await storage.removeMessages({ ...document, ...settled, confirmed: 1, dead }),
        true,
      )
      const [letter, ...others] = await storage.deadLetters.list()
      assert.ok(letter !== undefined && others.length === 0)
      assert.deepEqual(
        [letter.id, letter.type, letter.direction, letter.reason, letter.attempts],
        [poison.id, poison.type, 'outgoing', 'too-large', 1],
      )
      assert.equal(letter.place, 'default/topic/contract.poison')
      assert.deepEqual([letter.error, letter.headers], [dead.error, poison.headers])
      assert.ok(Buffer.from(letter.body).equals(poison.body), 'the bytes have changed')
      const rest = await held(storage)
      assert.deepEqual([labels(rest), rest.attempts], [['3'], 1])
      assert.equal(await storage.deadLetters.retry([letter.key, letter.key]), 1)
      assert.deepEqual(await storage.deadLetters.list(), [])
      await storage.removeMessages({ ...rest, ...settled })
      assert.deepEqual(labels(await held(storage)), ['3', 'poison'])
    },
  },
  {
    name: 'a dead letter that is discarded is gone, and the list has pages',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', '2', '3'])
      const dead = { reason: 'refused', error: 'no' } as const
      for (let count = 0; count < 3; count++)
        await storage.removeMessages({ ...(await held(storage)), ...settled, dead })
      const page = await storage.deadLetters.list({ limit: 2 })
      const rest = await storage.deadLetters.list({ after: page[1]?.key ?? '' })
      const [first, second, third] = [...page, ...rest]
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      assert.deepEqual([page.length, rest.length, third.type], [2, 1, 'contract.3'])
      assert.equal(await storage.deadLetters.discard([first.key, second.key, first.key]), 2)
      assert.deepEqual(
        (await storage.deadLetters.list()).map(({ key: name }) => name),
        [third.key],
      )
      assert.deepEqual((await hold(storage)).found, [])
    },
  },
]

/** What every storage of documents must do. */
export const documentsContract: readonly ContractCase<DocumentsHarness>[] = [
  ...changes,
  ...relaying,
  ...dying,
]
