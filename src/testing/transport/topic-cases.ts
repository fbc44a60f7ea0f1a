import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  listen,
  message,
  outcomes,
  publish,
  receive,
  toQueue,
  toTopic,
  type TransportHarness,
} from './harness.ts'

/** Events reach every subscribed queue, durably. */
export const topicCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'an event reaches every subscribed queue once, and no other',
    async run(harness) {
      await using transport = await harness.open()
      const [first, second, third] = [
        harness.name('first'),
        harness.name('second'),
        harness.name('third'),
      ]
      const [topic, other] = [harness.name('topic'), harness.name('other')]
      await transport.subscribe(first, [topic])
      await transport.subscribe(second, [other, topic])
      await transport.subscribe(third, [other])
      await publish(transport, message('event', toTopic(topic)))
      for (const queue of [first, second, third])
        await publish(transport, message('marker', toQueue(queue)))
      for (const [queue, expected] of [
        [first, ['event', 'marker']],
        [second, ['event', 'marker']],
        [third, ['marker']],
      ] as const) {
        await using inbox = await listen(transport, queue, 1)
        assert.deepEqual(await receive(inbox, expected.length), expected)
      }
    },
  },
  {
    name: 'copies of an event are settled each on its own',
    async run(harness) {
      await using transport = await harness.open()
      const [first, second] = [harness.name('first'), harness.name('second')]
      const topic = harness.name('topic')
      await transport.subscribe(first, [topic])
      await transport.subscribe(second, [topic])
      await publish(transport, message('event', toTopic(topic)))
      await using inFirst = await listen(transport, first)
      await using inSecond = await listen(transport, second)
      assert.deepEqual(await receive(inFirst, 1), ['event'])
      const failed = await inSecond.next()
      failed.answer({ kind: 'retry', delayMs: 0, error: new Error('not yet') })
      const again = await inSecond.next()
      assert.deepEqual([again.label, again.delivery.attempt], ['event', 2])
      again.answer({ kind: 'ack' })
      assert.equal(inFirst.untaken, 0)
    },
  },
  {
    name: 'subscribing again delivers no second copy',
    async run(harness) {
      await using transport = await harness.open()
      await using other = await harness.open()
      const [queue, topic] = [harness.name('q'), harness.name('topic')]
      await transport.subscribe(queue, [topic])
      await transport.subscribe(queue, [topic])
      await other.subscribe(queue, [topic, topic])
      await publish(transport, message('event', toTopic(topic)))
      await publish(transport, message('marker', toQueue(queue)))
      await using inbox = await listen(transport, queue, 1)
      assert.deepEqual(await receive(inbox, 2), ['event', 'marker'])
    },
  },
  {
    name: 'a subscription and what it has collected outlive the connection that made it',
    async run(harness) {
      const [queue, topic] = [harness.name('q'), harness.name('topic')]
      {
        await using transport = await harness.open()
        await transport.subscribe(queue, [topic])
      }
      {
        await using transport = await harness.open()
        await publish(transport, message('event', toTopic(topic)))
      }
      await using transport = await harness.open()
      await using inbox = await listen(transport, queue)
      assert.deepEqual(await receive(inbox, 1), ['event'])
    },
  },
  {
    name: 'a topic that was taken back delivers no more; the queue, its messages and its other topics stay',
    async run(harness) {
      await using transport = await harness.open()
      const [queue, topic, other] = [
        harness.name('q'),
        harness.name('topic'),
        harness.name('other'),
      ]
      await transport.subscribe(queue, [topic, other])
      await publish(transport, message('before', toTopic(topic)))
      await transport.subscribe(queue, [topic], { remove: true })
      await transport.subscribe(queue, [topic], { remove: true })
      const [gone] = await outcomes(transport, [message('gone', toTopic(topic))])
      assert.ok(gone?.kind === 'refused' && gone.reason === 'unroutable', `got ${gone?.kind}`)
      await publish(transport, message('other', toTopic(other)))
      await using inbox = await listen(transport, queue, 1)
      assert.deepEqual(await receive(inbox, 2), ['before', 'other'])
    },
  },
]
