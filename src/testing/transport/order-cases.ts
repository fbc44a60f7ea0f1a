import assert from 'node:assert/strict'
import { headerNames } from '../../core/messages/message.ts'
import type { Transport } from '../../core/transport.ts'
import type { ContractCase } from '../contract.ts'
import {
  type Inbox,
  listen,
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

const notYet = new Error('not yet')

/** As an app sends it: the key is known to the transport and travels in a header. */
function keyed(label: string, key: string, queue: string): ReturnType<typeof message> {
  const plain = message(label, toQueue(queue))
  const headers = { ...plain.headers, [headerNames.partitionKey]: key }
  return { ...plain, headers, partitionKey: key }
}

const inOrder = (
  { orderPerKey }: TransportHarness,
  transport: Transport,
  queue: string,
): Promise<Inbox> => listen(transport, queue, 10, { orderPerKey: orderPerKey === 'when-asked' })

/** A queue with these messages, each given as `key label`. */
async function filledWith(
  harness: TransportHarness,
  transport: Transport,
  ...texts: readonly string[]
): Promise<string> {
  const queue = harness.name('ordered')
  await transport.subscribe(queue, [])
  await publishAll(transport, queue, texts)
  return queue
}

async function publishAll(
  transport: Transport,
  queue: string,
  texts: readonly string[],
): Promise<void> {
  for (const text of texts) await publish(transport, keyed(text, text.slice(0, 1), queue))
}

async function next(inbox: Inbox, label: string): Promise<Received> {
  const received = await inbox.next()
  assert.equal(received.label, label)
  return received
}

async function nothingComes(inbox: Inbox): Promise<void> {
  await moment()
  assert.equal(inbox.untaken, 0)
}

/** Runs where the harness wants an order. */
function orderCase(
  name: string,
  run: (harness: TransportHarness, transport: Transport) => Promise<void>,
): ContractCase<TransportHarness> {
  return {
    name: `order per key, where it is wanted: ${name}`,
    async run(harness) {
      if (harness.orderPerKey === 'never') return
      await using transport = await harness.open()
      await run(harness, transport)
    },
  }
}

export const orderCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'order per key: the transport declares what its harness wants',
    async run(harness) {
      await using transport = await harness.open()
      assert.equal(transport.features.orderPerKey ?? 'never', harness.orderPerKey)
    },
  },
  orderCase(
    'of one key one message is in hand at a time, and other keys go on',
    async (harness, transport) => {
      const queue = await filledWith(harness, transport, 'a1', 'a2', 'a3', 'b1')
      await using inbox = await inOrder(harness, transport, queue)
      const first = [await inbox.next(), await inbox.next()]
      assert.deepEqual(first.map(({ label }) => label).toSorted(), ['a1', 'b1'])
      await nothingComes(inbox)
      for (const { answer } of first) answer({ kind: 'ack' })
      const second = await next(inbox, 'a2')
      await nothingComes(inbox)
      second.answer({ kind: 'ack' })
      assert.deepEqual(await receive(inbox, 1), ['a3'])
    },
  ),
  orderCase(
    'a retry holds its key until it has been handled, and no other',
    async (harness, transport) => {
      const queue = await filledWith(harness, transport, 'a1', 'a2')
      await using inbox = await inOrder(harness, transport, queue)
      const first = await next(inbox, 'a1')
      first.answer({ kind: 'retry', delayMs: SHORT_MS, error: notYet })
      await publishAll(transport, queue, ['b1'])
      assert.deepEqual(await receive(inbox, 1), ['b1'])
      await nothingComes(inbox)
      await harness.elapse(PASSED_MS)
      const again = await next(inbox, 'a1')
      assert.equal(again.delivery.attempt, 2)
      again.answer({ kind: 'ack' })
      assert.deepEqual(await receive(inbox, 1), ['a2'])
    },
  ),
  orderCase('a wish for later holds its key, too', async (harness, transport) => {
    const queue = await filledWith(harness, transport, 'a1', 'a2')
    await using inbox = await inOrder(harness, transport, queue)
    const first = await next(inbox, 'a1')
    const postponedSince = 1_700_000_000_123
    first.answer({ kind: 'retry', delayMs: SHORT_MS, error: notYet, postponedSince })
    await nothingComes(inbox)
    await harness.elapse(PASSED_MS)
    const again = await next(inbox, 'a1')
    assert.deepEqual([again.delivery.attempt, again.delivery.postponedSince], [1, postponedSince])
    again.answer({ kind: 'ack' })
    assert.deepEqual(await receive(inbox, 1), ['a2'])
  }),
  orderCase('after a dead letter its key goes on', async (harness, transport) => {
    const queue = await filledWith(harness, transport, 'a1', 'a2')
    await using inbox = await inOrder(harness, transport, queue)
    const first = await next(inbox, 'a1')
    first.answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
    assert.deepEqual(await receive(inbox, 1), ['a2'])
    const letters = await harness.deadLetters(queue).list()
    assert.deepEqual(
      letters.map(({ type }) => type),
      ['contract.a1'],
    )
  }),
  orderCase(
    'after a crash the next consumer begins with what was in hand, in the same order',
    async (harness, transport) => {
      const queue = await filledWith(harness, transport, 'a1', 'a2', 'a3')
      await using crashing = await harness.open()
      const inbox = await inOrder(harness, crashing, queue)
      await next(inbox, 'a1')
      await harness.crash(crashing)
      await using successor = await inOrder(harness, transport, queue)
      const labels: string[] = []
      while (labels.at(-1) !== 'a3') labels.push(...(await receive(successor, 1)))
      // A crash may repeat messages. The first of each come in order.
      assert.deepEqual([...new Set(labels)], ['a1', 'a2', 'a3'])
    },
  ),
  orderCase(
    'after a crash during a retry the key is still held, and the count goes on',
    async (harness, transport) => {
      const queue = await filledWith(harness, transport, 'a1', 'a2')
      await using crashing = await harness.open()
      const inbox = await inOrder(harness, crashing, queue)
      const first = await next(inbox, 'a1')
      first.answer({ kind: 'retry', delayMs: 0, error: notYet })
      const second = await next(inbox, 'a1')
      assert.equal(second.delivery.attempt, 2)
      second.answer({ kind: 'retry', delayMs: 0, error: notYet })
      await next(inbox, 'a1')
      await harness.crash(crashing)
      await using successor = await inOrder(harness, transport, queue)
      const again = await next(successor, 'a1')
      assert.ok(again.delivery.attempt >= 3, `attempt ${again.delivery.attempt}`)
      again.answer({ kind: 'ack' })
      assert.deepEqual(await receive(successor, 1), ['a2'])
    },
  ),
]
