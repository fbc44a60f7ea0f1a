import assert from 'node:assert/strict'
import type { DocumentStorage } from '../../core/records/documents.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import type { ContractCase } from '../contract.ts'
import {
  bytesOf,
  change,
  type DocumentsHarness,
  held,
  key,
  labels,
  message,
  settled,
  textOf,
} from './harness.ts'

/** The state, its version, and what is handled once. */
export const changeCases: readonly ContractCase<DocumentsHarness>[] = [
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
