import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { RabbitOptions } from '../../src/rabbitmq.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { withVhost } from '../rabbitmq/with-vhost.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { plainClient } from '../rabbitmq/plain-client.ts'
import { transportSuite } from './transport-suite.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const harness = (options: RabbitOptions = {}): TransportHarness => rabbitHarness(place.url, options)

transportSuite('RabbitMQ transport', () => harness(), here)

describe.skipIf(!here)('RabbitMQ transport', () => {
  test('a plain client finds every confirmed message, with the same bytes, headers and properties', async () => {
    await using opened = harness()
    await using plain = await plainClient(place.url)
    const transport = await opened.open()
    const queue = opened.name('read-back')
    const topic = opened.name('read-back-event')
    await transport.subscribe(queue, [topic])
    const messages = Array.from({ length: 200 }, (_, index) => ({
      id: randomUUID(),
      type: `test.${index}`,
      headers: {
        'content-type': 'application/octet-stream',
        'correlation-id': `correlation ${index}`,
        number: String(index),
        // Too long for a property of AMQP, every other time.
        sender: 'ü'.repeat(index % 2 === 0 ? 127 : 128),
      },
      body: Uint8Array.from({ length: index * 97 }, (_byte, at) => (at * 31 + index) % 256),
      to:
        index % 2 === 0
          ? ({ transport: 'default', kind: 'queue', name: queue } as const)
          : ({ transport: 'default', kind: 'topic', name: topic } as const),
    }))
    const outcomes = await Promise.all(transport.publish(messages))
    expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
    const found = new Map(
      (await plain.drain(queue)).map((message) => [
        message.properties.messageId as string,
        message,
      ]),
    )
    expect(found.size).toBe(messages.length)
    for (const [index, { id, type, headers: given, body }] of messages.entries()) {
      const message = found.get(id)
      expect(message?.content.equals(body)).toBe(true)
      const {
        'content-type': contentType,
        'correlation-id': correlationId,
        sender,
        ...others
      } = given
      const headers = index % 2 === 0 ? others : { ...others, sender }
      const appId = index % 2 === 0 ? sender : undefined
      expect(message?.properties).toMatchObject({
        type,
        headers,
        contentType,
        correlationId,
        appId,
        deliveryMode: 2,
      })
      // A quorum queue shows its own count of deliveries as one more header.
      const names = Object.keys(message?.properties.headers ?? {}).filter(
        (name) => name !== 'x-delivery-count',
      )
      expect(names.toSorted()).toEqual(Object.keys(headers).toSorted())
    }
  })
})

transportSuite(
  'RabbitMQ transport on classic queues',
  () => harness({ queueType: 'classic' }),
  here,
)
