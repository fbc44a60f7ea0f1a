import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import {
  filled,
  type Inbox,
  listen,
  LONG_MS,
  message,
  moment,
  PASSED_MS,
  publish,
  receive,
  type Received,
  SHORT_MS,
  toQueue,
  type TransportHarness,
} from './harness.ts'

async function take(inbox: Inbox, count: number): Promise<Received[]> {
  return Promise.all(Array.from({ length: count }, () => inbox.next()))
}

/** Each message is in the hands of one consumer at a time, until what it answers has been done. */
export const consumeCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'an acknowledged message does not come again',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, '1')
      {
        await using inbox = await listen(transport, queue)
        assert.deepEqual(await receive(inbox, 1), ['1'])
      }
      await publish(transport, message('2', toQueue(queue)))
      await using inbox = await listen(transport, queue, 1)
      assert.deepEqual(await receive(inbox, 1), ['2'])
    },
  },
  {
    name: 'a consumer gets what is published while it listens',
    async run(harness) {
      await using transport = await harness.open()
      await using other = await harness.open()
      const queue = await filled(harness, transport)
      await using inbox = await listen(transport, queue)
      const next = inbox.next()
      await publish(other, message('1', toQueue(queue)))
      const received = await next
      received.answer({ kind: 'ack' })
      assert.equal(received.label, '1')
    },
  },
  {
    name: 'a retry comes again after its delay with the next attempt, and not before; others go on meanwhile',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, 'soon', 'later')
      await using inbox = await listen(transport, queue)
      for (const received of await take(inbox, 2)) {
        const delayMs = received.label === 'soon' ? SHORT_MS : LONG_MS
        received.answer({ kind: 'retry', delayMs, error: new Error('not yet') })
      }
      await publish(transport, message('meanwhile', toQueue(queue)))
      const seen: Received[] = []
      while (!seen.some(({ label }) => label === 'meanwhile')) {
        seen.push(await inbox.next())
        seen.at(-1)?.answer({ kind: 'ack' })
      }
      await harness.elapse(PASSED_MS)
      if (seen.length === 1) {
        const received = await inbox.next()
        received.answer({ kind: 'ack' })
        seen.push(received)
      }
      await moment()
      assert.deepEqual(
        seen.map(({ label, delivery }) => `${label} ${delivery.attempt}`).toSorted(),
        ['meanwhile 1', 'soon 2'],
      )
      assert.equal(inbox.untaken, 0)
    },
  },
  {
    name: 'a callback that throws counts as a retry at once',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, '1')
      await using inbox = await listen(transport, queue)
      for (const attempt of [1, 2, 3]) {
        const received = await inbox.next()
        assert.deepEqual([received.label, received.delivery.attempt], ['1', attempt])
        received.answer(attempt === 3 ? { kind: 'ack' } : new Error('the handler has a fault'))
      }
    },
  },
  {
    name: 'a released message comes again at once',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, '1')
      await using inbox = await listen(transport, queue)
      const first = await inbox.next()
      first.answer({ kind: 'release' })
      const again = await inbox.next()
      again.answer({ kind: 'ack' })
      assert.equal(again.label, '1')
      assert.ok(again.delivery.attempt === 1 || again.delivery.attempt === 2)
    },
  },
  {
    name: 'attempts are counted over all consumers',
    async run(harness) {
      await using transport = await harness.open()
      await using other = await harness.open()
      const queue = await filled(harness, transport, '1')
      for (const [index, owner] of [transport, other, transport].entries()) {
        await using inbox = await listen(owner, queue)
        const received = await inbox.next()
        assert.equal(received.delivery.attempt, index + 1)
        const stopping = inbox.stop()
        received.answer(
          index === 2
            ? { kind: 'ack' }
            : { kind: 'retry', delayMs: 0, error: new Error('not yet') },
        )
        await stopping
      }
    },
  },
  {
    name: 'no more messages than the concurrency are in the hands of the callback, and as many if there are',
    async run(harness) {
      await using transport = await harness.open()
      const labels = ['1', '2', '3', '4', '5', '6', '7', '8']
      const queue = await filled(harness, transport, ...labels)
      await using inbox = await listen(transport, queue, 3)
      const held = await take(inbox, 3)
      await moment()
      assert.equal(inbox.untaken, 0)
      held[0]?.answer({ kind: 'ack' })
      held[0] = await inbox.next()
      await moment()
      assert.equal(inbox.untaken, 0)
      for (const received of held) received.answer({ kind: 'ack' })
      const rest = await receive(inbox, 4)
      assert.equal(rest.length, 4)
    },
  },
  {
    name: 'consumers of one queue share its messages, each with one of its own at the same time',
    async run(harness) {
      await using transport = await harness.open()
      await using other = await harness.open()
      const queue = await filled(harness, transport)
      await using here = await listen(transport, queue, 1)
      await using there = await listen(other, queue, 1)
      // In two calls: what comes in one may travel together.
      await publish(transport, message('1', toQueue(queue)))
      await publish(transport, message('2', toQueue(queue)))
      const both = await Promise.all([here.next(), there.next()])
      assert.deepEqual(both.map(({ label }) => label).toSorted(), ['1', '2'])
      for (const received of both) received.answer({ kind: 'ack' })
      await publish(transport, message('3', toQueue(queue)))
      const third = await Promise.race([here.next(), there.next()])
      third.answer({ kind: 'ack' })
      await moment()
      assert.deepEqual([third.label, here.untaken + there.untaken], ['3', 0])
    },
  },
  {
    name: 'what a killed consumer held comes to another one with the next attempt, and its late answers change nothing',
    async run(harness) {
      await using transport = await harness.open()
      const victim = await harness.open()
      const queue = await filled(harness, transport, '1', '2', '3')
      const lost = await take(await listen(victim, queue), 3)
      await harness.crash(victim)
      await using inbox = await listen(transport, queue)
      const held = await take(inbox, 3)
      assert.deepEqual(
        held.map(({ label, delivery }) => `${label} ${delivery.attempt}`).toSorted(),
        ['1 2', '2 2', '3 2'],
      )
      lost[0]?.answer({ kind: 'ack' })
      lost[1]?.answer({ kind: 'retry', delayMs: 0, error: new Error('too late') })
      lost[2]?.answer({ kind: 'reject', reason: 'rejected', error: new Error('too late') })
      await moment()
      assert.equal(inbox.untaken, 0)
      assert.deepEqual(await harness.deadLetters(queue).list(), [])
      for (const { answer } of held)
        answer({ kind: 'retry', delayMs: 0, error: new Error('once more') })
      const again = await take(inbox, 3)
      for (const { answer } of again) answer({ kind: 'ack' })
      assert.deepEqual(
        again.map(({ label, delivery }) => `${label} ${delivery.attempt}`).toSorted(),
        ['1 3', '2 3', '3 3'],
      )
    },
  },
  {
    name: 'the signal of a delivery aborts when its transport loses its hold',
    async run(harness) {
      await using transport = await harness.open()
      const victim = await harness.open()
      const queue = await filled(harness, transport, '1')
      const { delivery } = await (await listen(victim, queue)).next()
      assert.equal(delivery.signal.aborted, false)
      const aborted = new Promise<void>((resolve) =>
        delivery.signal.addEventListener('abort', () => resolve(), { once: true }),
      )
      await harness.crash(victim)
      await aborted
    },
  },
  {
    name: 'a consumer that stops waits for its callbacks, takes nothing new, and may be stopped again',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await filled(harness, transport, '1')
      await using inbox = await listen(transport, queue, 1)
      const held = await inbox.next()
      let stopped = false
      const stopping = inbox.stop().then(() => {
        stopped = true
      })
      await publish(transport, message('2', toQueue(queue)))
      await moment()
      assert.equal(stopped, false)
      assert.equal(held.delivery.signal.aborted, false)
      held.answer({ kind: 'ack' })
      await stopping
      await inbox.stop()
      assert.equal(inbox.untaken, 0)
      await using next = await listen(transport, queue, 1)
      assert.deepEqual(await receive(next, 1), ['2'])
    },
  },
]
