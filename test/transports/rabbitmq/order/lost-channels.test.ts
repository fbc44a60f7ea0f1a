import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Channel, type ChannelModel, type ConsumeMessage, connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { Disposition } from '../../../../src/core/transport.ts'
import { rabbitmq, type RabbitTransport } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { cut } from '../../../rabbitmq/plain-client.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

interface More {
  readonly connectTimeoutMs?: number
  /** So long each further connection takes, in milliseconds. */
  readonly lateMs?: () => number
}

function open(
  watch: (model: ChannelModel) => void,
  { connectTimeoutMs = 10_000, lateMs = () => 0 }: More = {},
): RabbitTransport {
  return rabbitmq({
    connect: async () => {
      await sleep(lateMs())
      const model = await connect(place.url, { noDelay: true })
      watch(model)
      return model
    },
    logger: false,
    newQueuePauseMs: 0,
    partitions: 1,
    connectTimeoutMs,
  })
}

const keyed = (queue: string) =>
  toQueue(queue, { headers: { 'partition-key': 'a' }, partitionKey: 'a' })

const ack: Disposition = { kind: 'ack' }

/** What `loses` of a retry queue never comes, as if somebody had taken it out. */
function losing(loses: () => boolean): (model: ChannelModel) => void {
  const isCopy = ({ properties }: ConsumeMessage): boolean =>
    properties.headers?.['x-mersal-copy'] !== undefined
  return (model) => {
    const createChannel = model.createChannel.bind(model)
    model.createChannel = async () => {
      const channel = await createChannel()
      const consume = channel.consume.bind(channel)
      channel.consume = ((queue, receive, options) =>
        consume(
          queue,
          (message) => {
            const lost = message !== null && queue.endsWith('.retry') && isCopy(message) && loses()
            if (!lost) receive(message)
          },
          options,
        )) satisfies Channel['consume']
      return channel
    }
  }
}

describe.skipIf(!here)('RabbitMQ in order, channels that are lost', { timeout: 60_000 }, () => {
  test('charge nothing while the process lives that began the messages', async () => {
    let models: ChannelModel[] = []
    await using transport = open((model) => models.push(model))
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const attempts: number[] = []
    // Its handlers end with the transport, also if something below fails.
    await transport.consume(
      { queue, concurrency: 2, orderPerKey: true },
      async ({ attempt, signal }) => {
        attempts.push(attempt)
        if (attempts.length === 6) return ack
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        return { kind: 'release' }
      },
    )
    await publishOne(transport, keyed(queue))
    for (let begun = 1; begun < 6; begun++) {
      await expect.poll(() => attempts.length, { timeout: 15_000 }).toBe(begun)
      const cutNow = models
      models = []
      cutNow.forEach(cut)
    }
    await expect.poll(() => attempts, { timeout: 15_000 }).toEqual([1, 1, 1, 1, 1, 1])
  })

  test('charge nothing in an outage of the broker from which another process is back first', async () => {
    const models: ChannelModel[] = []
    let lateMs = 0
    await using transport = open((model) => models.push(model), { lateMs: () => lateMs })
    await using standby = open((model) => models.push(model))
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const begun: string[] = []
    const read = (reader: RabbitTransport, name: string) =>
      reader.consume({ queue, concurrency: 2, orderPerKey: true }, async ({ attempt, signal }) => {
        begun.push(`${name} ${attempt}`)
        if (begun.length === 3) return ack
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        return { kind: 'release' }
      })
    const outage = (): void => models.splice(0).forEach(cut)
    await read(transport, 'first')
    await publishOne(transport, keyed(queue))
    await expect.poll(() => begun.length, { timeout: 15_000 }).toBe(1)
    outage()
    // From now on it is written down that it has begun.
    await expect.poll(() => begun.length, { timeout: 15_000 }).toBe(2)
    await read(standby, 'second')
    lateMs = 800
    outage()
    await expect.poll(() => begun, { timeout: 15_000 }).toEqual(['first 1', 'first 1', 'first 1'])
  })

  test('end the wait for a copy that never comes, and the order stays', async () => {
    let lost = 0
    await using transport = open(
      losing(() => ++lost === 1),
      { connectTimeoutMs: 5000 },
    )
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const seen: string[] = []
    await using _ = await transport.consume(
      { queue, concurrency: 2, orderPerKey: true },
      async ({ message: { id }, attempt }) => {
        seen.push(`${id} ${attempt}`)
        return attempt === 1 ? { kind: 'retry', delayMs: 0, error: new Error('fails once') } : ack
      },
    )
    const [first, second] = [keyed(queue), keyed(queue)]
    for (const message of [first, second]) await publishOne(transport, message)
    await expect
      .poll(() => seen, { timeout: 30_000 })
      .toEqual([`${first.id} 1`, `${first.id} 2`, `${second.id} 1`, `${second.id} 2`])
    expect(lost).toBeGreaterThan(1)
  })

  test('let a consumer stop that waits for a copy', async () => {
    await using transport = open(
      losing(() => true),
      { connectTimeoutMs: 5000 },
    )
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const failed = Promise.withResolvers<void>()
    const consumer = await transport.consume(
      { queue, concurrency: 2, orderPerKey: true },
      async () => {
        failed.resolve()
        return { kind: 'retry', delayMs: 0, error: new Error('fails') }
      },
    )
    await publishOne(transport, keyed(queue))
    await failed.promise
    let stopped = false
    void consumer[Symbol.asyncDispose]().then(() => {
      stopped = true
    })
    await expect.poll(() => stopped, { timeout: 30_000 }).toBe(true)
  })
})
