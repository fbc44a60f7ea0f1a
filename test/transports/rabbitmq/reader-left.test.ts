import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

describe.skipIf(!here)('a queue on RabbitMQ that somebody reads', () => {
  const removal = async (leaves: boolean): Promise<unknown> => {
    await using transport = rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0 })
    const queue = `q-${randomUUID()}`
    await transport.subscribe(queue, [])
    await using consumer = await transport.consume({ queue, concurrency: 1 }, async () => ({
      kind: 'ack',
    }))
    const removed = transport.removeQueue!(queue)
    // The broker counts a reader for a moment after it has left.
    if (leaves) setTimeout(() => void consumer[Symbol.asyncDispose](), 200)
    const answer = await removed
    return answer
  }

  test('is removed when he has just left', async () => {
    expect(await removal(true)).toEqual({ kind: 'removed' })
  })

  test('is kept when he stays', async () => {
    expect(await removal(false)).toMatchObject({
      kind: 'kept',
      why: expect.stringContaining('reads') as string,
    })
  })
})
