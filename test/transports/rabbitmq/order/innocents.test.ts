import { randomUUID } from 'node:crypto'
import { type ChannelModel, connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { rabbitmq, type RabbitTransport } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { cut } from '../../../rabbitmq/plain-client.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

/** `crash` ends it as if its process had been killed. */
function open(): { transport: RabbitTransport; crash: () => Promise<void> } {
  const models: ChannelModel[] = []
  const transport = rabbitmq({
    connect: async () => {
      const model = await connect(place.url, { noDelay: true })
      models.push(model)
      return model
    },
    logger: false,
    newQueuePauseMs: 0,
    partitions: 2,
  })
  const crash = async (): Promise<void> => {
    models.forEach(cut)
    await transport[Symbol.asyncDispose]()
  }
  return { transport, crash }
}

async function filled(count: number): Promise<string> {
  const queue = `q-${randomUUID()}`
  await using transport = open().transport
  await transport.subscribe(queue, [])
  for (let number = 0; number < count; number++) {
    const key = `key-${number}`
    const headers = { 'partition-key': key }
    await publishOne(transport, toQueue(queue, { type: key, headers, partitionKey: key }))
  }
  return queue
}

type Handle = (delivery: Delivery) => Promise<Disposition>

const never = new Promise<Disposition>(() => {})

/** Reads in order until the handler says that its process has died. */
async function untilCrash(
  queue: string,
  concurrency: number,
  handle: (delivery: Delivery, dies: () => void) => Promise<Disposition>,
): Promise<void> {
  const { transport, crash } = open()
  const { promise, resolve } = Promise.withResolvers<void>()
  const consumption = { queue, concurrency, orderPerKey: true }
  await transport.consume(consumption, (delivery) => handle(delivery, resolve))
  await promise
  await crash()
}

/** How often each message has been charged in the end. */
async function attempts(queue: string, count: number): Promise<Map<string, number>> {
  await using transport = open().transport
  const seen = new Map<string, number>()
  const handle: Handle = async ({ message, attempt }) => {
    seen.set(message.type, attempt)
    return { kind: 'ack' }
  }
  await transport.consume({ queue, concurrency: 10, orderPerKey: true }, handle)
  await expect.poll(() => seen.size, { timeout: 15_000 }).toBe(count)
  return seen
}

describe.skipIf(!here)('RabbitMQ in order, crashes of processes', { timeout: 120_000 }, () => {
  test('charge what was begun, and nothing that waited for a free hand', async () => {
    const queue = await filled(20)
    const begun = new Set<string>()
    for (let crashes = 0; crashes < 4; crashes++) {
      await untilCrash(queue, 1, ({ message }, dies) => {
        begun.add(message.type)
        setTimeout(dies, 500)
        return never
      })
    }
    const charged = [...(await attempts(queue, 20))].filter(([, attempt]) => attempt > 1)
    expect(charged.map(([type]) => type).filter((type) => !begun.has(type))).toEqual([])
    expect(charged.length).toBeLessThanOrEqual(begun.size)
    expect(charged.reduce((sum, [, attempt]) => sum + attempt - 1, 0)).toBeLessThanOrEqual(4)
  })

  test('charge those beside the message that ends processes once at most', async () => {
    const queue = await filled(6)
    const killers: number[] = []
    while (killers.length < 5) {
      await untilCrash(queue, 6, async ({ message, attempt }, dies) => {
        if (message.type !== 'key-3') {
          await new Promise((resolve) => setTimeout(resolve, 300))
          return { kind: 'release' }
        }
        killers.push(attempt)
        dies()
        return await never
      })
    }
    const seen = await attempts(queue, 6)
    expect(seen.get('key-3')).toBeGreaterThanOrEqual(5)
    seen.delete('key-3')
    expect(Math.max(...seen.values())).toBeLessThanOrEqual(2)
  })

  test('charge nothing that a process gave back as it stopped', async () => {
    const queue = await filled(4)
    // One that ends without a word makes suspects of them all.
    await untilCrash(queue, 4, (_, dies) => {
      setTimeout(dies, 300)
      return never
    })
    for (let stops = 0; stops < 3; stops++) {
      await using transport = open().transport
      const begun = new Set<string>()
      const consumer = await transport.consume(
        { queue, concurrency: 4, orderPerKey: true },
        async ({ message }) => {
          begun.add(message.type)
          return { kind: 'release' }
        },
      )
      await expect.poll(() => begun.size, { timeout: 15_000 }).toBe(4)
      await consumer[Symbol.asyncDispose]()
    }
    expect([...(await attempts(queue, 4)).values()]).toEqual([1, 1, 1, 1])
  })
})
