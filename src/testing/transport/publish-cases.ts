import assert from 'node:assert/strict'
import { TextDecoder, TextEncoder } from 'node:util'
import { type ContractCase, traceOfSender } from '../contract.ts'
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

async function roundTrip(
  harness: TransportHarness,
  extra: Parameters<typeof message>[2],
): Promise<void> {
  await using transport = await harness.open()
  const queue = harness.name('q')
  await transport.subscribe(queue, [])
  const given = message('given', toQueue(queue), extra)
  await publish(transport, given)
  await using inbox = await listen(transport, queue)
  const { delivery, answer } = await inbox.next()
  answer({ kind: 'ack' })
  assert.deepEqual(
    [delivery.message.id, delivery.message.type, delivery.queue, delivery.attempt],
    [given.id, given.type, queue, 1],
  )
  assert.deepEqual({ ...delivery.message.headers }, given.headers)
  assert.ok(Buffer.from(delivery.message.body).equals(given.body), 'the bytes have changed')
}

/** One honest answer per message, and what is confirmed arrives as it was sent. */
export const publishCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'a message arrives with its id, type, headers and bytes',
    run: (harness) => roundTrip(harness, {}),
  },
  {
    name: 'an id and a type of 250 characters arrive whole',
    run: (harness) =>
      roundTrip(harness, { id: `${'i'.repeat(249)}1`, type: `${'t'.repeat(249)}1` }),
  },
  {
    name: 'headers in any script survive',
    run: (harness) =>
      roundTrip(harness, {
        headers: {
          'x-name': 'Zoë 日本語 👩‍👩‍👧‍👦 שלום',
          'x-long': 'ü'.repeat(2000),
          'x-empty': '',
          'x-quotes': `"'\\ %s`,
          'x-number': '007',
          constructor: 'a header',
          ...traceOfSender,
        },
      }),
  },
  {
    name: 'an empty body and no headers survive',
    run: (harness) => roundTrip(harness, { headers: {}, body: new Uint8Array() }),
  },
  {
    name: 'every byte value survives',
    run: (harness) =>
      roundTrip(harness, {
        body: Uint8Array.from({ length: 1024 }, (_, index) => (index * 37) % 256),
      }),
  },
  {
    name: 'a body of 1 MB survives',
    run: (harness) =>
      roundTrip(harness, {
        body: Uint8Array.from({ length: 1_000_000 }, (_, index) => (index ^ (index >>> 8)) & 255),
      }),
  },
  {
    name: 'bytes that are changed after the confirm arrive as they were',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const body = new TextEncoder().encode('before')
      await publish(transport, message('given', toQueue(queue), { body }))
      body.fill(0)
      await using inbox = await listen(transport, queue)
      const { delivery, answer } = await inbox.next()
      answer({ kind: 'ack' })
      assert.equal(new TextDecoder().decode(delivery.message.body), 'before')
    },
  },
  {
    name: 'publishing nothing gives no promises',
    async run(harness) {
      await using transport = await harness.open()
      assert.deepEqual(transport.publish([]), [])
    },
  },
  {
    name: 'outcomes stand in the order of their messages, and one that is refused does not touch the others',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const missing = toQueue(harness.name('missing'))
      const answers = await outcomes(transport, [
        message('1', toQueue(queue)),
        message('2', missing),
        message('3', toQueue(queue)),
        message('4', missing),
      ])
      assert.deepEqual(
        answers.map(({ kind }) => kind),
        ['confirmed', 'refused', 'confirmed', 'refused'],
      )
      await using inbox = await listen(transport, queue)
      assert.deepEqual((await receive(inbox, 2)).toSorted(), ['1', '3'])
    },
  },
  {
    name: 'a queue that nobody declared and a topic without subscribers are refused as unroutable',
    async run(harness) {
      await using transport = await harness.open()
      const answers = await outcomes(transport, [
        message('1', toQueue(harness.name('missing'))),
        message('2', toTopic(harness.name('missing'))),
      ])
      for (const answer of answers) {
        assert.ok(answer.kind === 'refused', `got ${answer.kind}`)
        assert.equal(answer.reason, 'unroutable')
        assert.ok(answer.error instanceof Error)
      }
    },
  },
  {
    name: 'a message above the limit is refused for good, and what comes with it is sent',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const body = new Uint8Array(transport.features.maxMessageBytes + 1)
      const [large, small] = await outcomes(transport, [
        message('large', toQueue(queue), { body }),
        message('small', toQueue(queue)),
      ])
      assert.ok(large?.kind === 'refused', `got ${large?.kind}`)
      assert.deepEqual([large.reason, large.permanent], ['too-large', true])
      assert.equal(small?.kind, 'confirmed')
      await using inbox = await listen(transport, queue)
      assert.deepEqual(await receive(inbox, 1), ['small'])
    },
  },
  {
    name: 'of a key, with ordering per key, nothing is confirmed behind a message that is not; without it, each has its own answer',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const answers = await outcomes(transport, [
        message('1', toQueue(queue), { partitionKey: 'k' }),
        message('2', toQueue(harness.name('missing')), { partitionKey: 'k' }),
        message('3', toQueue(queue), { partitionKey: 'k' }),
        message('4', toQueue(queue), { partitionKey: 'l' }),
      ])
      const perKey = transport.features.ordering === 'per-key'
      assert.deepEqual(
        answers.map(({ kind }) => kind === 'confirmed'),
        [true, false, !perKey, true],
      )
    },
  },
  {
    name: 'of a key, with ordering per key, messages arrive in their order',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const labels = Array.from({ length: 100 }, (_, index) => `${index}`)
      const messages = labels.map((label) => message(label, toQueue(queue), { partitionKey: 'k' }))
      // Without that promise, the caller waits for each confirm itself.
      if (transport.features.ordering === 'per-key') await publish(transport, ...messages)
      else for (const one of messages) await publish(transport, one)
      await using inbox = await listen(transport, queue, 1)
      assert.deepEqual(await receive(inbox, 100), labels)
    },
  },
  {
    name: 'hundreds of messages in flight are all confirmed, and arrive once each',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const labels = Array.from({ length: 500 }, (_, index) => `${index}`)
      await Promise.all(
        [0, 1, 2, 3, 4].map((part) =>
          publish(
            transport,
            ...labels
              .slice(part * 100, part * 100 + 100)
              .map((label) => message(label, toQueue(queue))),
          ),
        ),
      )
      await using inbox = await listen(transport, queue, 20)
      const arrived = await receive(inbox, 500)
      assert.equal(new Set(arrived).size, 500)
      await publish(transport, message('last', toQueue(queue)))
      assert.deepEqual(await receive(inbox, 1), ['last'])
    },
  },
  {
    name: 'a confirmed message outlives the connection that sent it',
    async run(harness) {
      const queue = harness.name('q')
      {
        await using transport = await harness.open()
        await transport.subscribe(queue, [])
        await publish(transport, message('1', toQueue(queue)))
      }
      await using transport = await harness.open()
      await using inbox = await listen(transport, queue)
      assert.deepEqual(await receive(inbox, 1), ['1'])
    },
  },
  {
    name: 'under an aborted signal nothing is confirmed, and nothing rejects',
    async run(harness) {
      await using transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      const [answer] = await Promise.all(
        transport.publish([message('1', toQueue(queue))], { signal: AbortSignal.abort() }),
      )
      assert.ok(answer?.kind === 'unavailable' || answer?.kind === 'unknown', `got ${answer?.kind}`)
    },
  },
  {
    name: 'a closed transport answers unavailable, refuses to subscribe and consume, and may be closed again',
    async run(harness) {
      const transport = await harness.open()
      const queue = harness.name('q')
      await transport.subscribe(queue, [])
      await transport[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
      const [answer] = await outcomes(transport, [message('1', toQueue(queue))])
      assert.equal(answer?.kind, 'unavailable')
      await assert.rejects(async () => transport.subscribe(queue, []))
      await assert.rejects(async () =>
        transport.consume({ queue, concurrency: 1 }, () => Promise.resolve({ kind: 'ack' })),
      )
      await using other = await harness.open()
      await publish(other, message('2', toQueue(queue)))
      await using inbox = await listen(other, queue)
      assert.deepEqual(await receive(inbox, 1), ['2'])
    },
  },
]
