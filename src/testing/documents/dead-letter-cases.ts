import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import { change, type DocumentsHarness, held, hold, labels, settled } from './harness.ts'

const noted = (...attempts: readonly number[]): string =>
  JSON.stringify(attempts.map((attempt) => ({ attempt, at: 7, code: 'none', error: 'Error: no' })))

/** What is given up is kept. */
export const deadLetterCases: readonly ContractCase<DocumentsHarness>[] = [
  {
    name: 'a message that is given up is a dead letter with its bytes, and those behind it go on; a retry puts it behind them',
    async run(harness) {
      const storage = await harness.open()
      const [, poison] = await change(storage, ['1', 'poison', '3'])
      assert.ok(poison !== undefined)
      const document = await held(storage)
      const dead = {
        reason: 'too-large',
        error: 'it has too many bytes',
        maybePublished: true,
      } as const
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
      assert.equal(letter.maybePublished, true)
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
    name: 'what is noted of the attempts comes with the next hold, goes into the dead letter, and not to the next message',
    async run(harness) {
      const storage = await harness.open()
      await change(storage, ['1', 'poison', '3'])
      const first = await held(storage)
      assert.equal(first.history, undefined)
      await storage.removeMessages({ ...first, ...settled, attempts: 1, history: noted(1) })
      const second = await held(storage)
      assert.equal(second.history, noted(1))
      // Given back: nothing was tried.
      const nothing = { ...settled, history: undefined }
      await storage.removeMessages({ ...second, ...nothing, attempts: 1 })
      const third = await held(storage)
      assert.equal(third.history, noted(1))
      await storage.removeMessages({ ...third, ...nothing, confirmed: 1 })
      const poison = await held(storage)
      assert.equal(poison.history, undefined)
      await storage.removeMessages({ ...poison, ...settled, attempts: 1, history: noted(1) })
      const dead = { reason: 'refused', error: 'no' } as const
      const last = { ...(await held(storage)), ...settled, dead, history: noted(1, 2) }
      await storage.removeMessages(last)
      const [letter] = await storage.deadLetters.list()
      assert.deepEqual(letter?.history, JSON.parse(noted(1, 2)))
      assert.equal(await storage.deadLetters.retry([letter?.key ?? '']), 1)
      const rest = await held(storage)
      assert.deepEqual([labels(rest), rest.history], [['3', 'poison'], undefined])
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
