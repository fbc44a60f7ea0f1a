import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

/** A queue with this number of messages, numbered from 0 on. */
async function filled(count: number): Promise<string> {
  const queue = `q-${randomUUID()}`
  await using transport = rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0 })
  await transport.subscribe(queue, [])
  const messages = Array.from({ length: count }, (_, number) => ({
    id: randomUUID(),
    type: 'test.numbered',
    headers: { number: String(number) },
    body: Buffer.from('{}'),
    to: { transport: 'default', kind: 'queue', name: queue } as const,
  }))
  const outcomes = await Promise.all(transport.publish(messages))
  expect(outcomes.every(({ kind }) => kind === 'confirmed')).toBe(true)
  return queue
}

/** What a plain client is told of the queue: messages that no consumer holds. */
async function ready(queue: string): Promise<number> {
  const model = await connect(place.url)
  const channel = await model.createChannel()
  const { messageCount } = await channel.checkQueue(queue)
  await model.close()
  return messageCount
}

describe.skipIf(!here)('rabbitmq({ prefetch })', () => {
  test('P11: holds more than it handles, and gives back what it has not begun, uncharged', async () => {
    const queue = await filled(20)
    const gate = Promise.withResolvers<void>()
    let inHand = 0
    let most = 0
    const handled: string[] = []
    {
      await using transport = rabbitmq({ url: place.url, logger: false, prefetch: 8 })
      const consumer = await transport.consume(
        { queue, concurrency: 3 },
        async ({ message: { headers } }) => {
          most = Math.max(most, ++inHand)
          await gate.promise
          inHand--
          handled.push(String(headers['number']))
          return { kind: 'ack' }
        },
      )
      await expect.poll(() => ready(queue)).toBe(12)
      expect(inHand).toBe(3)
      const stopped = consumer[Symbol.asyncDispose]()
      gate.resolve()
      await stopped
    }
    expect(most).toBe(3)
    expect(handled).toHaveLength(3)
    await using transport = rabbitmq({ url: place.url, logger: false })
    const attempts: number[] = []
    const all = Promise.withResolvers<void>()
    await using _ = await transport.consume(
      { queue, concurrency: 5 },
      async ({ attempt, message: { headers } }) => {
        attempts.push(attempt)
        handled.push(String(headers['number']))
        if (handled.length === 20) all.resolve()
        return { kind: 'ack' }
      },
    )
    await all.promise
    expect(new Set(handled).size).toBe(20)
    expect(new Set(attempts)).toEqual(new Set([1]))
  })

  test('that is less than the concurrency takes no hand away', async () => {
    const queue = await filled(6)
    await using transport = rabbitmq({ url: place.url, logger: false, prefetch: 2 })
    const gate = Promise.withResolvers<void>()
    let inHand = 0
    await using _ = await transport.consume({ queue, concurrency: 5 }, async () => {
      inHand++
      await gate.promise
      return { kind: 'ack' }
    })
    await expect.poll(() => inHand).toBe(5)
    gate.resolve()
  })
})
