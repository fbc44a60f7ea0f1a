import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { toQueue } from '../../../rabbitmq/messages.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)
const ALL = 900
/** Of one partition so many wait for another try, at most. */
const MOST = 500

describe.skipIf(!here)('RabbitMQ in order, when every handler fails', () => {
  test('no more than 500 messages of a partition are under retry, and the others stay in its queue', {
    timeout: 90_000,
  }, async () => {
    const options = { url: place.url, logger: false, newQueuePauseMs: 0, partitions: 1 } as const
    await using transport = rabbitmq(options)
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    const messages = Array.from({ length: ALL }, (_, number) => {
      const key = `key-${number}`
      return toQueue(queue, { headers: { 'partition-key': key }, partitionKey: key })
    })
    const outcomes = await Promise.all(transport.publish(messages))
    expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
    const failed = new Set<string>()
    let [handled, mostFailed] = [0, 0]
    const consumption = { queue, concurrency: 50, orderPerKey: true } as const
    await using _ = await transport.consume(consumption, async ({ message: { id }, attempt }) => {
      if (attempt > 1) {
        handled++
        failed.delete(id)
        return { kind: 'ack' }
      }
      failed.add(id)
      mostFailed = Math.max(mostFailed, failed.size)
      return { kind: 'retry', delayMs: 6000, error: new Error('fails once') }
    })
    await expect.poll(() => handled, { timeout: 60_000 }).toBe(ALL)
    expect(mostFailed).toBe(MOST)
  })
})
