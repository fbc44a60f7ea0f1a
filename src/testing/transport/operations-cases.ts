import assert from 'node:assert/strict'
import type { QueueOverview } from '../../core/operations.ts'
import type { Transport } from '../../core/transport.ts'
import type { ContractCase } from '../contract.ts'
import {
  filled,
  listen,
  message,
  moment,
  only,
  outcomes,
  publish,
  toQueue,
  type TransportHarness,
} from './harness.ts'

/** Declares a queue with one dead letter. */
async function buried(harness: TransportHarness, transport: Transport): Promise<string> {
  const queue = await filled(harness, transport, 'poison')
  {
    await using inbox = await listen(transport, queue, 1)
    const received = await inbox.next()
    received.answer({ kind: 'reject', reason: 'invalid', error: new Error('no name') })
  }
  await atRest(transport, queue)
  return queue
}

/**
 * A broker may count a moment later: until then the consumer is still there, the dead letter not.
 */
async function atRest(transport: Transport, queue: string): Promise<void> {
  if (transport.operations?.queues === undefined) return
  for (;;) {
    const { dead, consumers = 0 } = await overviewOf(transport, queue)
    if (dead === 1 && consumers === 0) return
    await moment()
  }
}

async function overviewOf(transport: Transport, queue: string): Promise<QueueOverview> {
  const overviews = await transport.operations?.queues?.({ names: [queue] })
  assert.ok(overviews !== undefined, 'queues() is missing')
  return only(overviews.filter((one) => one.queue === queue))
}

/** What tools for operators ask. A transport may leave parts out; what it has must be right. */
export const operationsCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'operators see the dead letters of one queue, and of all, and change them',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await buried(harness, transport)
      const empty = harness.name('empty')
      await transport.subscribe(empty, [])
      const deadLetters = transport.operations?.deadLetters
      assert.ok(deadLetters !== undefined, 'operations.deadLetters is missing')
      const letter = only(await deadLetters(queue).list())
      assert.deepEqual([letter.place, letter.reason, letter.attempts], [queue, 'invalid', 1])
      assert.deepEqual(await deadLetters(empty).list(), [])
      const all = (await deadLetters().list()).filter(({ place }) => place === queue)
      assert.equal(only(all).key, letter.key)
      assert.equal(await deadLetters(queue).retry([letter.key]), 1)
      assert.deepEqual(await deadLetters(queue).list(), [])
      await using inbox = await listen(transport, queue, 1)
      const again = await inbox.next()
      again.answer({ kind: 'ack' })
      assert.deepEqual([again.label, again.delivery.attempt], ['poison', 1])
    },
  },
  {
    name: 'operators see what waits in a queue and how many dead letters it has',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await buried(harness, transport)
      const before = await overviewOf(transport, queue)
      await publish(transport, message('1', toQueue(queue)))
      await publish(transport, message('2', toQueue(queue)))
      const { dead, waiting, consumers = 0 } = await overviewOf(transport, queue)
      assert.deepEqual([dead, waiting - before.waiting, consumers], [1, 2, 0])
      const missing = harness.name('missing')
      const overviews = (await transport.operations?.queues?.({ names: [missing] })) ?? []
      assert.equal(
        overviews.some((one) => one.queue === missing),
        false,
      )
    },
  },
  {
    name: 'an examination tells which queue is missing, and makes none',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await buried(harness, transport)
      const missing = harness.name('missing')
      const examine = transport.operations?.examine ?? (() => Promise.resolve([]))
      const wrong = async (name: string): Promise<number> =>
        (await examine({ queues: [name] })).filter(({ level }) => level !== 'ok').length
      const [there, gone] = [await wrong(queue), await wrong(missing)]
      assert.ok(transport.operations?.examine === undefined || gone > there)
      const [answer] = await outcomes(transport, [message('1', toQueue(missing))])
      assert.ok(answer?.kind === 'refused' && answer.reason === 'unroutable')
    },
  },
  {
    name: 'tables, if there are any, are up to date after the first use, and upgrading changes nothing',
    async run(harness) {
      await using transport = await harness.open()
      const queue = await buried(harness, transport)
      const before = await overviewOf(transport, queue)
      const schema = transport.operations?.schema
      const { current, newest } = (await schema?.version()) ?? { current: 1, newest: 1 }
      assert.ok(newest > 0)
      assert.equal(current, newest)
      await schema?.upgrade()
      assert.notEqual(schema?.sql(0), '')
      assert.deepEqual(await overviewOf(transport, queue), before)
    },
  },
]
