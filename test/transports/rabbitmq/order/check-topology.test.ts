import { randomUUID } from 'node:crypto'
import { type Channel, type ChannelModel, connect as open } from 'amqplib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { brokerProblem } from '../../../../scripts/servers/rabbitmq.ts'
import { openPrivateBroker, type PrivateBroker } from '../../../rabbitmq/broker.ts'
import { ordersTo } from '../../../rabbitmq/broker-orders.ts'
import { toQueue } from '../../../rabbitmq/messages.ts'
import { cut, plainClient } from '../../../rabbitmq/plain-client.ts'

const here = brokerProblem() === undefined
const LIMIT = 4000

/** `cutPublishing`: a new connection tries again what was above the limit. */
function watched() {
  const models: ChannelModel[] = []
  const connecting = async (): Promise<ChannelModel> => {
    const model = await open(broker.url, { noDelay: true })
    models.push(model)
    return model
  }
  // The first one receives.
  return { connect: connecting, cutPublishing: () => cut(models[1]!) }
}

/** Without dead lettering: what the broker is told to pass on is gone. Returns what puts one in. */
async function queues(channel: Channel, queue: string, type: 'classic' | 'quorum') {
  for (const name of ['', '.dead', '.members', '.partition.0', '.partition.0.retry']) {
    const one = name.startsWith('.partition') ? { 'x-single-active-consumer': true } : {}
    const all = { durable: true, arguments: { 'x-queue-type': type, ...one } }
    await channel.assertQueue(`${queue}${name}`, all)
  }
  return (key: string, bytes: number): string => {
    const message = toQueue(queue)
    channel.sendToQueue(queue, Buffer.alloc(bytes), {
      messageId: message.id,
      type: message.type,
      headers: { 'partition-key': key },
    })
    return message.id
  }
}

let broker: PrivateBroker
const limit = (bytes: number) => ordersTo(broker).maxMessageSize(bytes)
beforeAll(async () => {
  if (here) broker = await openPrivateBroker()
})
beforeEach(async () => {
  if (here) await limit(1_000_000)
})
afterAll(() => broker?.[Symbol.asyncDispose]())

describe.skipIf(!here)(
  'RabbitMQ in order, messages above the limit of the broker',
  { timeout: 120_000 },
  () => {
    test('what can go nowhere stays in its queue, holds its key and no other, and says so', async () => {
      const queue = `q-${randomUUID()}`
      await using plain = await plainClient(broker.url)
      const { channel } = plain
      const put = await queues(channel, queue, 'classic')
      const held = [put('a', LIMIT + 1)]
      // More than a process takes ahead.
      for (let count = 0; count < 520; count++) held.push(put('a', 1))
      const other = put('b', 1)
      await channel.checkQueue(queue)
      await limit(LIMIT)
      const errors: unknown[] = []
      const { connect, cutPublishing } = watched()
      await using transport = rabbitmq({
        connect,
        topology: 'check',
        queueType: 'classic',
        partitions: 1,
        logger: { ...silentLogger, error: (fields) => errors.push(fields) },
      })
      const seen: string[] = []
      const consumption = { queue, concurrency: 10, orderPerKey: true }
      await using _ = await transport.consume(consumption, async ({ message }) => {
        seen.push(message.id)
        return { kind: 'ack' }
      })
      await expect.poll(() => errors, { timeout: 40_000 }).toMatchObject([{ queue, id: held[0] }])
      await expect.poll(() => seen, { timeout: 40_000 }).toEqual([other])
      await limit(1_000_000)
      cutPublishing()
      await expect.poll(() => seen.length, { timeout: 40_000 }).toBe(held.length + 1)
      expect(seen.slice(1)).toEqual(held)
    })

    test('P5: a key keeps its order while others stay behind one that can go nowhere', async () => {
      const queue = `q-${randomUUID()}`
      await using plain = await plainClient(broker.url)
      const { channel } = plain
      const put = await queues(channel, queue, 'quorum')
      const held = [put('a', LIMIT + 1)]
      await channel.checkQueue(queue)
      await limit(LIMIT)
      const errors: unknown[] = []
      const { connect, cutPublishing } = watched()
      await using transport = rabbitmq({
        connect,
        topology: 'check',
        partitions: 1,
        logger: { ...silentLogger, error: (fields) => errors.push(fields) },
      })
      const seen: string[] = []
      const consumption = { queue, concurrency: 100, orderPerKey: true }
      await using _ = await transport.consume(consumption, async ({ message }) => {
        seen.push(message.id)
        return { kind: 'ack' }
      })
      await expect.poll(() => errors, { timeout: 40_000 }).toMatchObject([{ queue, id: held[0] }])
      const others: string[] = []
      for (let round = 0; round < 400; round++) {
        for (let count = 0; count < 5; count++) {
          held.push(put('a', 1))
          others.push(put('b', 1))
        }
        await channel.checkQueue(queue)
      }
      await expect.poll(() => seen.length, { timeout: 40_000 }).toBe(others.length)
      expect(seen).toEqual(others)
      await limit(1_000_000)
      cutPublishing()
      await expect.poll(() => seen.length, { timeout: 40_000 }).toBe(others.length + held.length)
      expect(seen.slice(others.length)).toEqual(held)
    })

    test('each message of a bundle has its own end, also beside one that can go nowhere', async () => {
      const queue = `q-${randomUUID()}`
      const errors: unknown[] = []
      const { connect, cutPublishing } = watched()
      await using transport = rabbitmq({
        connect,
        queueType: 'classic',
        partitions: 1,
        bundles: {},
        logger: { ...silentLogger, error: (fields) => errors.push(fields) },
      })
      await transport.subscribe(queue, [])
      const of = (key: string, bytes: number) => {
        const headers = { 'partition-key': key }
        return toQueue(queue, { body: Buffer.alloc(bytes), headers, partitionKey: key })
      }
      const messages = [of('a', 1), of('b', LIMIT + 1), of('b', 1), of('c', 1)]
      await Promise.all(transport.publish(messages))
      await limit(LIMIT)
      const seen: string[] = []
      const consumption = { queue, concurrency: 10, orderPerKey: true }
      await using _ = await transport.consume(consumption, async ({ message }) => {
        seen.push(message.id)
        return { kind: 'ack' }
      })
      const [first, large, behind, last] = messages.map(({ id }) => id)
      await expect.poll(() => errors, { timeout: 40_000 }).toMatchObject([{ queue, id: large }])
      await expect.poll(() => seen, { timeout: 40_000 }).toEqual([first, last])
      expect(await transport.deadLettersOf(queue).list()).toEqual([])
      await limit(1_000_000)
      cutPublishing()
      await expect.poll(() => seen, { timeout: 40_000 }).toEqual([first, last, large, behind])
    })
  },
)
