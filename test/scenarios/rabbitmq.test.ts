import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Disposition } from '../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../src/rabbitmq.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'
import { publishOne, publishUntilConfirmed, toQueue, toTopic } from '../rabbitmq/messages.ts'
import { plainClient } from '../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
let place: Awaited<ReturnType<typeof openVhost>>

beforeAll(async () => {
  if (here) place = await openVhost()
})
afterAll(async () => {
  if (here) await place[Symbol.asyncDispose]()
})

const unique = (): string => `q-${randomUUID()}`

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, ...options })
}

/** A consumer whose deliveries are taken one by one. */
async function deliveries(transport: RabbitTransport, queue: string, concurrency = 1) {
  const arrived: { delivery: Delivery; answer: (disposition: Disposition) => void }[] = []
  let wake = (): void => {}
  const consumption = await transport.consume({ queue, concurrency }, (delivery) => {
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
    [Symbol.asyncDispose]: () => consumption[Symbol.asyncDispose](),
  }
}

describe.skipIf(!here)('publishing to RabbitMQ', () => {
  test('a full queue with reject-publish refuses, and its neighbours in the batch are confirmed', async () => {
    await using transport = open({ queueArguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } })
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
        expect(outcome).toMatchObject({ reason: 'refused', permanent: false, error: { code: 'MERSAL_REFUSED' } })
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
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'refused', 'confirmed', 'refused'])
  })

  test('an event without subscribers is refused, or discarded if that is wanted', async () => {
    await using strict = open()
    await using generous = open({ eventsWithoutSubscribers: 'discard' })
    expect(await publishOne(strict, toTopic(unique()))).toMatchObject({ kind: 'refused', reason: 'unroutable', permanent: false })
    expect(await publishOne(generous, toTopic(unique()))).toEqual({ kind: 'confirmed' })
    expect(await publishOne(generous, toQueue(unique()))).toMatchObject({ kind: 'refused', reason: 'unroutable' })
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
    expect(await publishOne(transport, toTopic(topic))).toMatchObject({ kind: 'refused', reason: 'unroutable' })
    expect(await publishOne(transport, toQueue(queue))).toEqual({ kind: 'confirmed' })
    await transport.subscribe(queue, [topic])
    expect(await publishOne(transport, toTopic(topic))).toEqual({ kind: 'confirmed' })
  })

  test('a routing key that AMQP cannot write is refused for good, and so are headers that do not fit into a frame', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const tooMany = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`h${index}`, 'x'.repeat(1000)]))
    const outcomes = await Promise.all(transport.publish([toQueue('k'.repeat(256)), toQueue(queue, { headers: tooMany }), toQueue(queue)]))
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
    expect([again.delivery.message.id, again.delivery.attempt]).toEqual([held.delivery.message.id, 2])
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

  test('a foreign message without id and type arrives with its headers as text', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const headers = { Number: 7, flag: true, list: [1, 'two'], nested: { a: null }, bytes: Buffer.from('b'), ['__proto__x']: 'p' }
    plain.channel.sendToQueue(queue, Buffer.from([0, 255]), { headers, contentType: 'text/plain', expiration: 600_000 })
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
      second.answer({ kind: 'reject', reason: 'handler-failed', error: new Error('the last failure') })
    }
    const [letter] = await plain.drain(`${queue}.dead`)
    expect([...letter!.content]).toEqual([1, 0, 254])
    expect(letter!.properties).toMatchObject({ messageId: message.id, type: message.type, deliveryMode: 2 })
    const headers = letter!.properties.headers as Record<string, string>
    expect(headers).toMatchObject({ note: 'kept', 'x-mersal-reason': 'handler-failed', 'x-mersal-attempts': 2 })
    const history = JSON.parse(headers['x-mersal-history']!) as { attempt: number; error: string }[]
    expect(history.map(({ attempt, error }) => `${attempt} ${error}`)).toEqual(['1 Error: the first failure', '2 Error: the last failure'])
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
    expect(letter).toMatchObject({ id: message.id, place: queue, error: expect.stringContaining('rejected') as string })
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

describe.skipIf(!here)('what is wrong with a RabbitMQ is said clearly', () => {
  const secret = 'pa55/w&rd-of-the-canary'

  async function failure(options: RabbitOptions): Promise<string> {
    const lines: unknown[] = []
    const write = (...args: unknown[]): void => void lines.push(args)
    await using transport = rabbitmq({
      connectTimeoutMs: 3000,
      logger: { debug: write, info: write, warn: write, error: write },
      ...options,
    })
    const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
    expect(caught).toBeInstanceOf(Error)
    const outcome = await publishOne(transport, toQueue('q'))
    expect(outcome.kind).toBe('unavailable')
    return inspect([caught, outcome, lines, transport], { depth: 20, showHidden: true })
  }

  test.each([
    ['a wrong password', () => `amqp://guest:${encodeURIComponent(secret)}@127.0.0.1:5672/${place.vhost}`, 'ACCESS_REFUSED'],
    ['a missing vhost', () => `amqp://guest:guest@127.0.0.1:5672/no-such-vhost`, 'no-such-vhost'],
    ['a closed port', () => `amqp://guest:${encodeURIComponent(secret)}@127.0.0.1:1/`, 'ECONNREFUSED'],
  ])('%s, without the password', async (_, url, expected) => {
    const text = await failure({ url: url() })
    expect(text).toContain(expected)
    expect(text).not.toContain(secret)
    expect(text).not.toContain(encodeURIComponent(secret))
  })

  test('a `connect` whose error shows the URL', async () => {
    const text = await failure({
      connect: () => Promise.reject(new Error(`cannot reach amqp://guest:${encodeURIComponent(secret)}@host/`)),
    })
    expect(text).toContain('cannot reach amqp://***@host/')
    expect(text).not.toContain(encodeURIComponent(secret))
  })

  test.each([
    ['a space in the host', `amqp://guest:s3cret@ho st/`],
    ['another protocol', `https://guest:s3cret@host/`],
    ['a password with a lone percent sign', `amqp://guest:s3cret%zz@host/`],
    ['no URL at all', `s3cret`],
    ['settings after the vhost', `amqp://guest:s3cret@host/v?heartbeat=1`],
  ])('a URL with %s, without the password', (_, url) => {
    let caught: unknown
    try {
      rabbitmq({ url })
    } catch (error) {
      caught = error
    }
    expect(caught).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS', details: { field: 'rabbitmq.url' } })
    expect(inspect(caught, { depth: 20, showHidden: true })).not.toContain('s3cret')
  })

  test('options that do not exist, with the nearest one, and options that lose messages', () => {
    const make = (options: object) => () => rabbitmq({ url: 'amqp://h', ...options })
    expect(make({ topologi: 'declare' })).toThrow("did you mean 'topology'?")
    expect(make({ queueArguments: { 'x-max-length': 5, 'x-overflow': 'drop-head' } })).toThrow('drop messages that were confirmed')
    expect(make({ queueArguments: { 'x-expires': 5 } })).toThrow('remove the queue')
    expect(make({ connect: () => {} })).toThrow("give either 'url' or 'connect'")
    expect(make({ heartbeatSeconds: 0 })).toThrow('rabbitmq.heartbeatSeconds')
  })

  test('a queue that exists with other properties: dropping its head, not durable, or of another type', async () => {
    await using plain = await plainClient(place.url)
    await using transport = open()
    for (const options of [{ durable: true, arguments: { 'x-max-length': 1 } }, { durable: false }, { durable: true, autoDelete: true }]) {
      const queue = unique()
      await plain.channel.assertQueue(queue, options)
      await expect(transport.subscribe(queue, [])).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining(`queue '${queue}' exists with other properties`) as string,
      })
      await plain.channel.deleteQueue(queue)
    }
    await transport.subscribe(unique(), [])
  })

  test('with `check`, a missing queue and a missing exchange, and other messages go on', async () => {
    await using owner = open()
    await using transport = open({ topology: 'check', eventsExchange: unique() })
    const queue = unique()
    await expect(transport.subscribe(queue, [])).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    await expect(transport.consume({ queue, concurrency: 1 }, async () => ({ kind: 'ack' }))).rejects.toThrow('does not exist')
    await owner.subscribe(queue, [])
    await transport.subscribe(queue, [])
    const outcomes = await Promise.all(transport.publish([toTopic('x'), toQueue(queue)]))
    expect(outcomes).toMatchObject([{ kind: 'refused', reason: 'unroutable' }, { kind: 'confirmed' }])
  })

  test('a user without privileges', async () => {
    const user = `u${Date.now()}`
    await place.ctl('add_user', user, secret)
    try {
      await place.ctl('set_permissions', '-p', place.vhost, user, '^$', '^$', '^$')
      await using transport = rabbitmq({ url: `amqp://${user}:${encodeURIComponent(secret)}@127.0.0.1:5672/${place.vhost}`, logger: false })
      const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
      expect(caught).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS', message: expect.stringContaining('no privilege') as string })
      expect(inspect(caught, { depth: 20 })).not.toContain(secret)
    } finally {
      await place.ctl('delete_user', user)
    }
  })
})
