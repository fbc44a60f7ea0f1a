import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { isMersalError } from '../../../src/index.ts'
import type { Delivery, Disposition } from '../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { publishOne, publishUntilConfirmed, toQueue, toTopic } from '../../rabbitmq/messages.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const unique = (): string => `q-${randomUUID()}`

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, ...options })
}

/** A consumer whose deliveries are taken one by one. */
async function deliveries(transport: RabbitTransport, queue: string, concurrency = 1) {
  const arrived: { delivery: Delivery; answer: (disposition: Disposition) => void }[] = []
  let wake = (): void => {}
  let ending = false
  const consumption = await transport.consume({ queue, concurrency }, (delivery) => {
    if (ending) return Promise.resolve({ kind: 'ack' })
    const { promise, resolve } = Promise.withResolvers<Disposition>()
    arrived.push({ delivery, answer: resolve })
    wake()
    return promise
  })
  return {
    async next() {
      while (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      return arrived.shift()!
    },
    /**
     * What nobody has taken is answered, since the end of a consumption waits for its deliveries.
     */
    [Symbol.asyncDispose]: async () => {
      ending = true
      for (const { answer } of arrived) answer({ kind: 'ack' })
      await consumption[Symbol.asyncDispose]()
    },
  }
}

describe.skipIf(!here)('publishing to RabbitMQ', () => {
  test('a full queue with reject-publish refuses, and its neighbours in the batch are confirmed', async () => {
    await using transport = open({
      queueArguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
    })
    await using free = open()
    await using plain = await plainClient(place.url)
    const [full, other] = [unique(), unique()]
    await transport.subscribe(full, [])
    await free.subscribe(other, [])
    const kinds = new Set<string>()
    let kept = 0
    // A quorum queue refuses only after it has noticed that it is full.
    for (let turn = 0; turn < 50 && !kinds.has('refused'); turn++) {
      const [outcome, neighbour] = await Promise.all(free.publish([toQueue(full), toQueue(other)]))
      kinds.add(outcome!.kind)
      if (outcome!.kind === 'confirmed') kept++
      if (outcome!.kind === 'refused')
        expect(outcome).toMatchObject({
          reason: 'refused',
          permanent: false,
          error: { code: 'MERSAL_REFUSED' },
        })
      expect(neighbour!.kind).toBe('confirmed')
    }
    expect([...kinds].toSorted()).toEqual(['confirmed', 'refused'])
    expect((await plain.drain(full)).length).toBe(kept)
  })

  test('two copies of one message on the way at the same time each get their own answer', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const present = toQueue(queue)
    const missing = { ...present, to: { ...present.to, name: unique() } }
    const outcomes = await Promise.all(transport.publish([present, missing, present, missing]))
    expect(outcomes.map(({ kind }) => kind)).toEqual([
      'confirmed',
      'refused',
      'confirmed',
      'refused',
    ])
  })

  test('an event without subscribers is refused, or discarded if that is wanted', async () => {
    await using strict = open()
    await using generous = open({ eventsWithoutSubscribers: 'discard' })
    expect(await publishOne(strict, toTopic(unique()))).toMatchObject({
      kind: 'refused',
      reason: 'unroutable',
      permanent: false,
    })
    expect(await publishOne(generous, toTopic(unique()))).toEqual({ kind: 'confirmed' })
    expect(await publishOne(generous, toQueue(unique()))).toMatchObject({
      kind: 'refused',
      reason: 'unroutable',
    })
  })

  test('the events exchange is made again after somebody deleted it, and other messages stay unharmed', async () => {
    const exchange = unique()
    await using transport = open({ eventsExchange: exchange })
    await using plain = await plainClient(place.url)
    const [queue, topic] = [unique(), unique()]
    await transport.subscribe(queue, [topic])
    expect(await publishOne(transport, toTopic(topic))).toEqual({ kind: 'confirmed' })
    await plain.channel.deleteExchange(exchange)
    // The 404 closes the channel, so the broker answers nothing.
    expect(await publishOne(transport, toTopic(topic))).toMatchObject({ kind: 'unknown' })
    // The exchange is back, but its bindings are not.
    expect(await publishOne(transport, toTopic(topic))).toMatchObject({
      kind: 'refused',
      reason: 'unroutable',
    })
    expect(await publishOne(transport, toQueue(queue))).toEqual({ kind: 'confirmed' })
    await transport.subscribe(queue, [topic])
    expect(await publishOne(transport, toTopic(topic))).toEqual({ kind: 'confirmed' })
  })

  test('a routing key that AMQP cannot write is refused for good, and so are headers that do not fit into a frame', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const tooMany = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`h${index}`, 'x'.repeat(1000)]),
    )
    const outcomes = await Promise.all(
      transport.publish([
        toQueue('k'.repeat(256)),
        toQueue(queue, { headers: tooMany }),
        toQueue(queue),
      ]),
    )
    expect(outcomes[0]).toMatchObject({
      kind: 'refused',
      permanent: true,
      error: { message: expect.stringContaining('256 bytes') as string },
    })
    expect(outcomes[1]).toMatchObject({ kind: 'refused', permanent: true })
    expect(outcomes[2]).toEqual({ kind: 'confirmed' })
  })

  test('a connection that an operator closes comes back within five seconds, and the consumer with it', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    await using inbox = await deliveries(transport, queue)
    await publishOne(transport, toQueue(queue))
    const held = await inbox.next()
    await place.ctl('close_all_connections', '-p', place.vhost, 'an operator was here')
    const closed = performance.now()
    const message = toQueue(queue)
    const outcomes = await publishUntilConfirmed(transport, message)
    expect(performance.now() - closed).toBeLessThan(5000)
    expect(outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
    expect(held.delivery.signal.aborted).toBe(true)
    held.answer({ kind: 'ack' })
    const again = await inbox.next()
    expect([again.delivery.message.id, again.delivery.attempt]).toEqual([
      held.delivery.message.id,
      2,
    ])
    again.answer({ kind: 'ack' })
    const next = await inbox.next()
    next.answer({ kind: 'ack' })
    expect(next.delivery.message.id).toBe(message.id)
  })
})

describe.skipIf(!here)('consuming from RabbitMQ', () => {
  test('a queue that is deleted while it is consumed is made again with its topics', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const [queue, topic] = [unique(), unique()]
    await transport.subscribe(queue, [topic])
    await using inbox = await deliveries(transport, queue)
    await plain.channel.deleteQueue(queue)
    const message = toTopic(topic)
    await publishUntilConfirmed(transport, message)
    const arrived = await inbox.next()
    arrived.answer({ kind: 'ack' })
    expect(arrived.delivery.message.id).toBe(message.id)
  })

  test('an own queue or binding that is missing is no fault of the message: it is made again, and no attempt is charged', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const [queue, topic] = [unique(), unique()]
    await transport.subscribe(queue, [topic])
    await using inbox = await deliveries(transport, queue, 5)
    await plain.channel.unbindQueue(queue, 'mersal.events', topic)
    const event = toTopic(topic)
    const first = await publishOne(transport, event)
    expect(first).toMatchObject({ kind: 'unavailable', error: { code: 'MERSAL_UNROUTABLE' } })
    if (first.kind === 'unavailable') await first.back
    expect(await publishOne(transport, event)).toEqual({ kind: 'confirmed' })
    const arrived = await inbox.next()
    arrived.answer({ kind: 'ack' })
    expect(arrived.delivery.message.id).toBe(event.id)
  })

  /**
   * Publishes until the queue, which takes two messages at most, refuses one when it has long been
   * made. Tells what came, each kind in its turn.
   */
  async function untilRefused(
    transport: RabbitTransport,
    queue: string,
    onOutcome = (_kind: string, _code?: string): unknown => _kind,
  ): Promise<readonly string[]> {
    const seen: string[] = []
    while (!seen.at(-1)?.startsWith('refused: MERSAL_REFUSED')) {
      const outcome = await publishOne(transport, toQueue(queue))
      const code =
        outcome.kind === 'confirmed' || !isMersalError(outcome.error)
          ? undefined
          : outcome.error.code
      seen.push(code === undefined ? outcome.kind : `${outcome.kind}: ${code}`)
      await onOutcome(outcome.kind, code)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    // A consumer that takes the message in between makes room for another one that is confirmed.
    return seen
      .filter((kind) => kind !== 'confirmed')
      .filter((kind, index, all) => kind !== all[index - 1])
  }

  const full = {
    newQueuePauseMs: 1500,
    queueArguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
  }

  test('P8: what a queue refuses while it is being made costs a message no attempt', async () => {
    await using transport = open(full)
    const queue = unique()
    const made = transport.subscribe(queue, [])
    await publishUntilConfirmed(transport, toQueue(queue))
    expect(await untilRefused(transport, queue)).toEqual([
      'unavailable: MERSAL_REFUSED',
      'refused: MERSAL_REFUSED',
    ])
    await made
  })

  test('P8: nor when a consumer that comes late makes room between two refusals', async () => {
    await using transport = open(full)
    await using plain = await plainClient(place.url)
    const queue = unique()
    const made = transport.subscribe(queue, [])
    await publishUntilConfirmed(transport, toQueue(queue))
    const kinds: string[] = []
    const seen = await untilRefused(transport, queue, async (kind) => {
      if (kind === 'unavailable' && !kinds.includes(kind))
        while (await plain.channel.get(queue, { noAck: true }));
      kinds.push(kind)
    })
    expect(kinds.slice(kinds.indexOf('unavailable'))).toContain('confirmed')
    expect(seen).toEqual(['unavailable: MERSAL_REFUSED', 'refused: MERSAL_REFUSED'])
    await made
  })

  test('P8: what a queue refuses while it is being made again costs a message no attempt', async () => {
    // Long enough to fill the queue in, also while the machine has much else to do.
    const newQueuePauseMs = 5000
    await using transport = open({ ...full, newQueuePauseMs })
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    await using _ = await deliveries(transport, queue)
    await plain.channel.deleteQueue(queue)
    // The queue is made after the publish that is unroutable. That publish begins after the answer
    // before it.
    let [unmade, answered] = [performance.now(), performance.now()]
    const seen = await untilRefused(transport, queue, (_kind, code) => {
      if (code === 'MERSAL_UNROUTABLE') unmade = answered
      answered = performance.now()
    })
    expect(answered - unmade).toBeGreaterThanOrEqual(newQueuePauseMs)
    expect(seen).toEqual([
      'unavailable: MERSAL_UNROUTABLE',
      'unavailable: MERSAL_REFUSED',
      'refused: MERSAL_REFUSED',
    ])
  })

  test('a consumer gets the messages of the successor of its queue, also when a publish finds first that the queue is gone', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const kinds = new Set<string>()
    for (let round = 0; round < 5; round++) {
      const queue = unique()
      await transport.subscribe(queue, [])
      await using inbox = await deliveries(transport, queue)
      await plain.channel.deleteQueue(queue)
      const message = toQueue(queue)
      for (const { kind } of await publishUntilConfirmed(transport, message)) kinds.add(kind)
      const { delivery, answer } = await inbox.next()
      answer({ kind: 'ack' })
      expect(delivery.message.id).toBe(message.id)
    }
    expect([...kinds].toSorted()).toEqual(['confirmed', 'unavailable'])
  })

  test('a foreign message without id and type arrives with its headers as text', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const headers = {
      Number: 7,
      flag: true,
      list: [1, 'two'],
      nested: { a: null },
      bytes: Buffer.from('b'),
      ['__proto__x']: 'p',
    }
    plain.channel.sendToQueue(queue, Buffer.from([0, 255]), {
      headers,
      contentType: 'text/plain',
      expiration: 600_000,
    })
    await using inbox = await deliveries(transport, queue)
    const { delivery, answer } = await inbox.next()
    answer({ kind: 'ack' })
    expect(delivery.message).toMatchObject({ id: '', type: '', body: Uint8Array.of(0, 255) })
    expect(delivery.message.headers).toEqual({
      number: '7',
      flag: 'true',
      list: '[1,"two"]',
      nested: '{"a":null}',
      bytes: 'b',
      __proto__x: 'p',
      'content-type': 'text/plain',
    })
  })

  test('a dead letter holds the original bytes and headers, its reason and its history, for a plain client', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const message = toQueue(queue, { headers: { note: 'kept' }, body: Uint8Array.of(1, 0, 254) })
    await publishOne(transport, message)
    {
      await using inbox = await deliveries(transport, queue)
      const first = await inbox.next()
      first.answer({ kind: 'retry', delayMs: 1, error: new Error('the first failure') })
      const second = await inbox.next()
      second.answer({
        kind: 'reject',
        reason: 'handler-failed',
        error: new Error('the last failure'),
      })
    }
    const [letter] = await plain.drain(`${queue}.dead`)
    expect([...letter!.content]).toEqual([1, 0, 254])
    expect(letter!.properties).toMatchObject({
      messageId: message.id,
      type: message.type,
      deliveryMode: 2,
    })
    const headers = letter!.properties.headers as Record<string, string>
    expect(headers).toMatchObject({
      note: 'kept',
      'x-mersal-reason': 'handler-failed',
      'x-mersal-attempts': 2,
    })
    const history = JSON.parse(headers['x-mersal-history']!) as { attempt: number; error: string }[]
    expect(history.map(({ attempt, error }) => `${attempt} ${error}`)).toEqual([
      '1 Error: the first failure',
      '2 Error: the last failure',
    ])
  })

  test('a message that a foreign consumer throws away becomes a dead letter, and can be retried', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const message = toQueue(queue)
    await publishOne(transport, message)
    const fetched = await plain.channel.get(queue)
    if (fetched === false) throw new Error('the queue is empty')
    plain.channel.nack(fetched, false, false)
    await expect.poll(() => transport.deadLetters.list(), { timeout: 10_000 }).toHaveLength(1)
    const [letter] = await transport.deadLetters.list()
    expect(letter).toMatchObject({
      id: message.id,
      place: queue,
      error: expect.stringContaining('rejected') as string,
    })
    expect(await transport.deadLetters.retry([letter!.key])).toBe(1)
    const [back] = await plain.drain(queue)
    expect(back?.properties.messageId).toBe(message.id)
  })

  test('a rejected message is not removed before its dead letter is confirmed, though the dead-letter queue was deleted', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    await using inbox = await deliveries(transport, queue)
    const message = toQueue(queue)
    await publishOne(transport, message)
    const { answer } = await inbox.next()
    await plain.channel.deleteQueue(`${queue}.dead`)
    answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
    await expect
      .poll(
        async () =>
          transport.deadLetters
            .list()
            .then((letters) => letters.map(({ id }) => id))
            .catch(() => []),
        { timeout: 10_000 },
      )
      .toEqual([message.id])
  })
})
