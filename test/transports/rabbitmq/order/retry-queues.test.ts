import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { toQueue } from '../../../rabbitmq/messages.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)
const PAUSE_MS = 1500

const open = (newQueuePauseMs: number) =>
  rabbitmq({ url: place.url, logger: false, newQueuePauseMs, partitions: 1 })

async function plain() {
  const model = await connect(place.url)
  return {
    /** Messages that wait in it; undefined: it is not there. */
    async has(queue: string): Promise<number | undefined> {
      const channel = await model.createChannel()
      channel.on('error', () => {}) // the answer that it is not there
      try {
        const { messageCount } = await channel.checkQueue(queue)
        await channel.close()
        return messageCount
      } catch {
        return undefined
      }
    },
    async remove(queue: string): Promise<void> {
      const channel = await model.createChannel()
      await channel.deleteQueue(queue)
      await channel.close()
    },
    [Symbol.asyncDispose]: () => model.close(),
  }
}

describe.skipIf(!here)('RabbitMQ in order: the queues of retries', { timeout: 60_000 }, () => {
  test('are there before anything is tried again', async () => {
    await using broker = await plain()
    await using transport = open(0)
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const consumption = { queue, concurrency: 1, orderPerKey: true } as const
    await using _ = await transport.consume(consumption, async () => ({ kind: 'ack' }))
    expect(await broker.has(`${queue}.partition.0.retry`)).toBe(0)
  })

  test('P2: nothing is read before one that was missing has had its pause, whoever finds it', async () => {
    await using broker = await plain()
    const queue = `q-${randomUUID()}`
    const retries = `${queue}.partition.0.retry`
    const consumption = { queue, concurrency: 1, orderPerKey: true } as const
    {
      await using former = open(0)
      await former.subscribe(queue, [])
      await using _ = await former.consume(consumption, async () => ({ kind: 'ack' }))
    }
    await broker.remove(retries)
    let [made, handled] = [0, 0]
    await using one = open(PAUSE_MS)
    await using other = open(PAUSE_MS)
    const handle = async () => {
      handled ||= performance.now()
      return { kind: 'ack' } as const
    }
    const [sent] = one.publish([toQueue(queue, { partitionKey: 'key' })])
    expect(await sent).toEqual({ kind: 'confirmed' })
    const starting = one.consume(consumption, handle)
    while ((await broker.has(retries)) === undefined) expect(handled).toBe(0)
    made = performance.now()
    // It finds what the first one has just made, and is waiting for.
    const first = await other.consume(consumption, handle)
    const second = await starting
    await expect.poll(() => handled, { timeout: 30_000 }).toBeGreaterThan(0)
    // It was seen up to a look after it was made.
    expect(handled - made).toBeGreaterThan(PAUSE_MS * 0.8)
    await Promise.all([first[Symbol.asyncDispose](), second[Symbol.asyncDispose]()])
  })
})
