import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { rabbitmq, type RabbitTransport } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

function open(partitions: number): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, partitions })
}

/** A queue with so many messages, each with a key of its own. */
async function filled(transport: RabbitTransport, count: number): Promise<string> {
  const queue = `q-${randomUUID()}`
  await transport.subscribe(queue, [])
  const keys = Array.from({ length: count }, (_, number) => `key-${number}`)
  const send = (key: string) => {
    const headers = { 'partition-key': key }
    return publishOne(transport, toQueue(queue, { type: key, headers, partitionKey: key }))
  }
  const outcomes = await Promise.all(keys.map(send))
  expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
  return queue
}

const ack: Disposition = { kind: 'ack' }

type Handle = (delivery: Delivery) => Promise<Disposition>

const read = (transport: RabbitTransport, queue: string, concurrency: number, handle: Handle) =>
  transport.consume({ queue, concurrency, orderPerKey: true }, handle)

describe.skipIf(!here)('RabbitMQ in order, what waits for a free hand', { timeout: 60_000 }, () => {
  test('is not begun when the consumer stops', async () => {
    await using transport = open(2)
    const queue = await filled(transport, 40)
    await using other = open(2)
    const begun: string[] = []
    const handlers = Promise.withResolvers<Disposition>()
    const consumer = await read(other, queue, 3, ({ message }) => {
      begun.push(message.type)
      return handlers.promise
    })
    const waiting = async (): Promise<number> =>
      (await transport.operations.queues({ names: [queue] }))[0]?.waiting ?? 0
    await expect.poll(() => begun.length, { timeout: 15_000 }).toBe(3)
    await expect.poll(waiting, { timeout: 15_000 }).toBe(0)
    const stopped = consumer[Symbol.asyncDispose]()
    handlers.resolve(ack)
    await stopped
    expect(begun).toHaveLength(3)
    expect(await waiting()).toBe(37)
    const seen: number[] = []
    await using _ = await read(transport, queue, 10, async ({ attempt }) => {
      seen.push(attempt)
      return ack
    })
    await expect.poll(() => seen, { timeout: 15_000 }).toEqual(Array.from({ length: 37 }, () => 1))
  })

  test('is not begun when the transport is closed by force', async () => {
    await using sender = open(2)
    const queue = await filled(sender, 40)
    const transport = open(2)
    const begun: string[] = []
    await read(transport, queue, 3, async ({ message, signal }) => {
      begun.push(message.type)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      return { kind: 'release' }
    })
    await expect.poll(() => begun.length, { timeout: 15_000 }).toBe(3)
    await transport[Symbol.asyncDispose]()
    expect(begun).toHaveLength(3)
  })

  test('goes to the process that comes, while a handler of another partition runs on', async () => {
    await using first = open(4)
    const queue = await filled(first, 40)
    const handler = Promise.withResolvers<Disposition>()
    const begun: string[] = []
    const old = await read(first, queue, 1, ({ message }) => {
      begun.push(message.type)
      return handler.promise
    })
    const waiting = async (): Promise<number> =>
      (await first.operations.queues({ names: [queue] }))[0]?.waiting ?? 0
    await expect.poll(waiting, { timeout: 15_000 }).toBe(0)
    await using second = open(4)
    const seen: string[] = []
    await using _ = await read(second, queue, 10, async ({ message }) => {
      seen.push(message.type)
      return ack
    })
    // Of the two partitions that go over at least one has no handler that runs.
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBeGreaterThan(0)
    expect(begun).toHaveLength(1)
    handler.resolve(ack)
    await old[Symbol.asyncDispose]()
    await expect.poll(() => seen.length, { timeout: 15_000 }).toBe(39)
  })
})
