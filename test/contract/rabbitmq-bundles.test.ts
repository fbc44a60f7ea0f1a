import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Transport } from '../../src/core/transport.ts'
import type { RabbitTransport } from '../../src/rabbitmq.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { withVhost } from '../rabbitmq/with-vhost.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { transportSuite } from './transport-suite.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const COMPANION = 'companion'
let bundled = 0

/**
 * Nobody travels alone: each message has one before and one behind it in the same call, which only
 * this wrapper sees.
 */
function accompanied(transport: RabbitTransport): Transport {
  const companion = ({ to }: OutgoingMessage): OutgoingMessage => ({
    id: randomUUID(),
    type: COMPANION,
    headers: {},
    body: Buffer.of(),
    to,
  })
  return {
    name: transport.name,
    features: transport.features,
    operations: transport.operations,
    publish: (messages, options) =>
      transport
        .publish(
          messages.flatMap((message) => [companion(message), message, companion(message)]),
          options,
        )
        .filter((_, index) => index % 3 === 1),
    subscribe: (queue, topics, options) => transport.subscribe(queue, topics, options),
    consume: (consumption, onDelivery) =>
      transport.consume(consumption, (delivery) => {
        if (delivery.message.type !== COMPANION) return onDelivery(delivery)
        bundled++
        return Promise.resolve({ kind: 'ack' })
      }),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  }
}

transportSuite(
  'RabbitMQ transport with bundles',
  () => rabbitHarness(place.url, { bundles: { events: true } }),
  here,
)

transportSuite(
  'RabbitMQ transport on classic queues, every message in a bundle',
  () => rabbitHarness(place.url, { queueType: 'classic', bundles: { events: true } }, accompanied),
  here,
)

describe.skipIf(!here)('RabbitMQ transport on classic queues, every message in a bundle', () => {
  test('in which companions came, so there were bundles', () => {
    expect(bundled).toBeGreaterThan(1000)
  })
})
