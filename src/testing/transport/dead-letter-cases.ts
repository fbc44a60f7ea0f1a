import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  filled,
  listen,
  message,
  only,
  publish,
  receive,
  toQueue,
  type TransportHarness,
} from './harness.ts'

/** What consumers give up is kept, and comes back when it is asked for. */
export const deadLetterCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'a rejected message becomes a dead letter with its bytes and its reason, and comes no more',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport)
      const body = Uint8Array.from({ length: 256 }, (_, index) => index)
      const given = message('poison', toQueue(queue), { body, headers: { note: 'ключ' } })
      await publish(transport, given)
      await using inbox = await listen(transport, queue, 1)
      const received = await inbox.next()
      received.answer({
        kind: 'reject',
        reason: 'invalid',
        error: new Error('the name is missing'),
      })
      await publish(transport, message('after', toQueue(queue)))
      assert.deepEqual(await receive(inbox, 1), ['after'])
      // The next message may come while a rejection is being recorded; a stop waits for it.
      await inbox.stop()
      const letter = only(await harness.deadLetters(queue).list())
      assert.deepEqual(
        [letter.id, letter.type, letter.place, letter.direction],
        [given.id, given.type, queue, 'incoming'],
      )
      assert.deepEqual([letter.reason, letter.attempts], ['invalid', 1])
      assert.match(letter.error, /the name is missing/)
      assert.equal(letter.headers['note'], 'ключ')
      assert.ok(Buffer.from(letter.body).equals(body), 'the bytes have changed')
    },
  },
  {
    name: 'a dead letter that is retried comes again as new; one that is discarded is gone',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, '1', '2', '3')
      await using rejecting = await listen(transport, queue, 1)
      for (let count = 0; count < 3; count++) {
        const received = await rejecting.next()
        received.answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
      }
      await rejecting.stop()
      await using inbox = await listen(transport, queue, 1)
      const box = harness.deadLetters(queue)
      const page = await box.list({ limit: 2 })
      const rest = await box.list({ after: page[1]?.key ?? '' })
      const letters = [...page, ...rest]
      assert.deepEqual(letters.map(({ type }) => type).toSorted(), [
        'contract.1',
        'contract.2',
        'contract.3',
      ])
      const [first, second, third] = letters
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      assert.equal(await box.discard([second.key]), 1)
      assert.equal(await box.retry([first.key, second.key]), 1)
      const again = await inbox.next()
      again.answer({ kind: 'ack' })
      assert.deepEqual([again.delivery.message.id, again.delivery.attempt], [first.id, 1])
      assert.deepEqual(
        (await box.list()).map(({ id }) => id),
        [third.id],
      )
      assert.equal(await box.discard([third.key, third.key]), 1)
    },
  },
]
