import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { partitionFor } from '../../../../src/transports/rabbitmq/order/names.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { openGroup } from '../../../rabbitmq/group.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

/** A key of each of two partitions. */
const [slow, other] = [0, 1].map((partition) => {
  const keys = Array.from({ length: 50 }, (_, index) => `key-${index}`)
  const inside = (key: string): boolean =>
    partitionFor({ properties: { headers: { 'partition-key': key } } } as never, 2) === partition
  return keys.find(inside) ?? ''
}) as [string, string]

describe.skipIf(!here)('RabbitMQ in order, messages that are held for long', () => {
  test('go back in order and come again, and meanwhile a handler that does not end holds up only its partition', {
    timeout: 60_000,
  }, async () => {
    const queue = `q-${randomUUID()}`
    const options = { url: place.url, logger: false, newQueuePauseMs: 0, partitions: 2 } as const
    await using transport = rabbitmq(options)
    await transport.subscribe(queue, [])
    const send = (key: string, type: string) => {
      const headers = { 'partition-key': key }
      return publishOne(transport, toQueue(queue, { type, headers, partitionKey: key }))
    }
    const seen: string[] = []
    const handler = Promise.withResolvers<void>()
    const consumption = { queue, concurrency: 10, orderPerKey: true } as const
    const retries = new Map<string, number>()
    await using group = openGroup(
      options,
      { longestHeldMs: 1500 },
      consumption,
      async ({ message: { type }, attempt }) => {
        seen.push(type)
        if (type === 'slow') await handler.promise
        retries.set(type, attempt)
        // The first one of the other key is held for longer than anything may be.
        if (type === 'waits' && attempt === 1)
          return { kind: 'retry', delayMs: 4000, error: new Error('later') }
        return { kind: 'ack' }
      },
    )
    await group.start()
    for (const [key, type] of [
      [slow, 'slow'],
      [slow, 'behind'],
      [other, 'waits'],
      [other, 'waits behind'],
    ] as const)
      await send(key, type)
    // The other partition was given back and taken again, although the slow handler runs on.
    await expect.poll(() => seen, { timeout: 20_000 }).toContain('waits behind')
    expect(seen.filter((type) => type.startsWith('waits'))).toEqual([
      'waits',
      'waits',
      'waits behind',
    ])
    expect(retries.get('waits')).toBe(2)
    expect(seen).not.toContain('behind')
    handler.resolve()
    await expect.poll(() => seen, { timeout: 20_000 }).toContain('behind')
    expect(seen.filter((type) => type === 'slow')).toEqual(['slow'])
  })
})
