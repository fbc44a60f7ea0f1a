import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { brokerProblem } from '../../../../scripts/servers/rabbitmq.ts'
import { openPrivateBroker, type PrivateBroker } from '../../../rabbitmq/broker.ts'
import { toQueue } from '../../../rabbitmq/messages.ts'
import { plainClient } from '../../../rabbitmq/plain-client.ts'

const here = brokerProblem() === undefined
const LIMIT = 4000
let broker: PrivateBroker
beforeAll(async () => {
  if (here) broker = await openPrivateBroker()
})
afterAll(() => broker?.[Symbol.asyncDispose]())

describe.skipIf(!here)("RabbitMQ in order, with topology 'check'", { timeout: 60_000 }, () => {
  test('what can go nowhere stays in its queue, holds its key and no other, and says so', async () => {
    const queue = `q-${randomUUID()}`
    await using plain = await plainClient(broker.url)
    const { channel } = plain
    // Without dead lettering: what the broker is told to pass on is gone.
    for (const name of ['', '.dead', '.members', '.partition.0', '.partition.0.retry'])
      await channel.assertQueue(`${queue}${name}`, {
        durable: true,
        arguments: name.startsWith('.partition') ? { 'x-single-active-consumer': true } : {},
      })
    const put = (key: string, bytes: number) => {
      const { id, type } = toQueue(queue)
      const headers = { 'partition-key': key }
      channel.sendToQueue(queue, Buffer.alloc(bytes), { messageId: id, type, headers })
      return id
    }
    const large = put('a', LIMIT + 1)
    put('a', 1)
    const other = put('b', 1)
    await channel.checkQueue(queue)
    await broker.ctl('eval', `application:set_env(rabbit, max_message_size, ${LIMIT}).`)
    const errors: unknown[] = []
    const quiet = () => {}
    await using transport = rabbitmq({
      url: broker.url,
      topology: 'check',
      queueType: 'classic',
      partitions: 1,
      logger: { debug: quiet, info: quiet, warn: quiet, error: (fields) => errors.push(fields) },
    })
    const seen: string[] = []
    const consumer = await transport.consume(
      { queue, concurrency: 10, orderPerKey: true },
      async ({ message }) => {
        seen.push(message.id)
        return { kind: 'ack' }
      },
    )
    await expect.poll(() => errors, { timeout: 20_000 }).toMatchObject([{ queue, id: large }])
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual([other])
    await consumer[Symbol.asyncDispose]()
    await expect
      .poll(async () => (await channel.checkQueue(queue)).messageCount, { timeout: 10_000 })
      .toBe(2)
  })
})
