import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../../src/rabbitmq.ts'
import { headerFrameBytes } from '../../../../src/transports/rabbitmq/publish/header-size.ts'
import { toProperties } from '../../../../src/transports/rabbitmq/publish/envelope.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { plainClient } from '../../../rabbitmq/plain-client.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)
const FRAME_MAX = 4096

function open(options: RabbitOptions = {}): RabbitTransport {
  const connection = options.connect === undefined ? { url: place.url } : {}
  return rabbitmq({ ...connection, logger: false, newQueuePauseMs: 0, partitions: 1, ...options })
}

/** Its connections take no frame above 4 KiB. */
function openSmall(options: RabbitOptions = {}): RabbitTransport {
  const { username, password, hostname, port, pathname } = new URL(place.url)
  const vhost = decodeURIComponent(pathname.slice(1))
  const address = { username, password, hostname, port: Number(port), vhost, frameMax: FRAME_MAX }
  return open({ connect: () => connect(address), ...options })
}

function keyed(queue: string, headers: Record<string, string> = {}): OutgoingMessage {
  return toQueue(queue, { headers: { 'partition-key': 'a', ...headers }, partitionKey: 'a' })
}

/** Its frame of headers has exactly the size that the small connections take. */
function filled(queue: string): OutgoingMessage {
  const rest = headerFrameBytes(toProperties(keyed(queue, { long: '' })))
  return keyed(queue, { long: 'x'.repeat(FRAME_MAX - rest) })
}

type Decide = (delivery: Delivery) => Disposition

/** Reads in order, and keeps what the handler has seen. */
async function read(transport: RabbitTransport, queue: string, decide: Decide) {
  const seen: Delivery[] = []
  const consumer = await transport.consume(
    { queue, concurrency: 10, orderPerKey: true },
    async (delivery) => {
      seen.push(delivery)
      return decide(delivery)
    },
  )
  return { seen, stop: () => consumer[Symbol.asyncDispose]() }
}

const ack: Decide = () => ({ kind: 'ack' })
const error = new Error('no')

async function freshQueue(transport: RabbitTransport): Promise<string> {
  const queue = `q-${randomUUID()}`
  await transport.subscribe(queue, [])
  return queue
}

describe.skipIf(!here)('RabbitMQ in order loses nothing', () => {
  test('a dead letter that is put back is handled, although it may have been written twice', async () => {
    await using transport = open()
    const queue = await freshQueue(transport)
    await using plain = await plainClient(place.url)
    let refuse = true
    const { seen } = await read(transport, queue, () =>
      refuse ? { kind: 'reject', reason: 'rejected', error } : { kind: 'ack' },
    )
    await publishOne(transport, keyed(queue))
    await expect
      .poll(() => transport.deadLettersOf(queue).list(), { timeout: 10_000 })
      .toHaveLength(1)
    refuse = false
    const [letter] = await plain.drain(`${queue}.dead`)
    // As a splitter writes it that got it for the second time, since the first one has crashed.
    plain.channel.sendToQueue(`${queue}.partition.0`, letter!.content, {
      ...letter!.properties,
      headers: { 'partition-key': 'a', 'x-mersal-again': '1' },
    })
    await expect.poll(() => seen.length, { timeout: 5000 }).toBe(2)
  })

  test('a copy that the splitter had to write again is handled once', async () => {
    await using transport = open()
    const queue = await freshQueue(transport)
    await using plain = await plainClient(place.url)
    const { seen } = await read(transport, queue, ack)
    const first = keyed(queue)
    await publishOne(transport, first)
    await expect.poll(() => seen.length, { timeout: 5000 }).toBe(1)
    plain.channel.sendToQueue(`${queue}.partition.0`, Buffer.from(first.body), {
      messageId: first.id,
      type: first.type,
      headers: { 'partition-key': 'a', 'x-mersal-again': '1' },
    })
    await publishOne(transport, keyed(queue))
    await expect.poll(() => seen.length, { timeout: 5000 }).toBe(2)
    expect(seen[1]?.message.id).not.toBe(first.id)
  })

  test('what leaves no room for the count of its attempts is one dead letter, and no copy stays', async () => {
    await using transport = openSmall()
    const queue = await freshQueue(transport)
    const message = filled(queue)
    expect(await publishOne(transport, message)).toEqual({ kind: 'confirmed' })
    const first = await read(transport, queue, () => ({ kind: 'retry', delayMs: 0, error }))
    const letters = () => transport.deadLettersOf(queue).list()
    await expect.poll(letters, { timeout: 10_000 }).toHaveLength(1)
    expect(await letters()).toMatchObject([{ id: message.id, reason: 'too-large' }])
    await first.stop()
    const second = await read(transport, queue, ack)
    await publishOne(transport, keyed(queue))
    await expect.poll(() => second.seen.length, { timeout: 5000 }).toBe(1)
    await second.stop()
    expect(second.seen[0]?.message.headers['partition-key']).toBe('a')
    await using plain = await plainClient(place.url)
    for (const name of [`${queue}.partition.0`, `${queue}.partition.0.retry`])
      expect((await plain.channel.checkQueue(name)).messageCount).toBe(0)
    const [letter] = await letters()
    expect(Buffer.from(letter!.body)).toEqual(message.body)
    expect(await transport.deadLettersOf(queue).retry([letter!.key])).toBe(1)
    expect((await plain.channel.checkQueue(queue)).messageCount).toBe(1)
  })

  test('what comes a second time is moved on whole, even if the mark for that has no room', async () => {
    await using transport = openSmall()
    const queue = await freshQueue(transport)
    const message = filled(queue)
    await publishOne(transport, message)
    await using plain = await plainClient(place.url)
    await plain.channel.get(queue)
    await plain.channel.recover()
    const { seen } = await read(transport, queue, ack)
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(1)
    expect(seen[0]?.message.headers).toEqual(message.headers)
  })

  test('of a bundle only the message is a dead letter that can never be moved on', async () => {
    await using reader = openSmall()
    await using sender = open({ bundles: { messages: 10 } })
    const queue = await freshQueue(reader)
    const messages = [keyed(queue), keyed(queue, { long: 'x'.repeat(6000) }), keyed(queue)]
    const outcomes = await Promise.all(sender.publish(messages))
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'confirmed', 'confirmed'])
    const { seen } = await read(reader, queue, ack)
    const letters = () => reader.deadLettersOf(queue).list()
    await expect.poll(letters, { timeout: 10_000 }).toHaveLength(1)
    expect(await letters()).toMatchObject([{ id: messages[1]!.id, reason: 'too-large' }])
    await expect.poll(() => seen.length, { timeout: 5000 }).toBe(2)
    expect(seen.map(({ message }) => message.id)).toEqual([messages[0]!.id, messages[2]!.id])
  })

  test("with topology 'check' messages are moved on, and retried, in queues that somebody else made", async () => {
    await using maker = open()
    const queue = await freshQueue(maker)
    const made = await read(maker, queue, ({ attempt }) =>
      attempt === 1 ? { kind: 'retry', delayMs: 0, error } : { kind: 'ack' },
    )
    await publishOne(maker, keyed(queue))
    await expect.poll(() => made.seen.length, { timeout: 10_000 }).toBe(2)
    await made.stop()
    await using transport = open({ topology: 'check' })
    const { seen } = await read(transport, queue, ({ attempt }) =>
      attempt === 1 ? { kind: 'retry', delayMs: 0, error } : { kind: 'ack' },
    )
    const messages = [keyed(queue), keyed(queue)]
    for (const message of messages) await publishOne(transport, message)
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(4)
    const ids = messages.flatMap(({ id }) => [id, id])
    expect(seen.map(({ message }) => message.id)).toEqual(ids)
  })
})
