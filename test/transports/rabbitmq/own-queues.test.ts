import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { describer } from '../../../src/transports/rabbitmq/connection/address.ts'
import type { RabbitLink } from '../../../src/transports/rabbitmq/connection/client.ts'
import { rabbitSettings } from '../../../src/transports/rabbitmq/options.ts'
import { Publisher } from '../../../src/transports/rabbitmq/publish/publisher.ts'
import { ownQueues, type Topology } from '../../../src/transports/rabbitmq/topology/topology.ts'
import { toQueue } from '../../rabbitmq/messages.ts'

/** A publisher whose channel answers, and whose broker declares queues, when the test says so. */
function open() {
  const channel = Object.assign(new EventEmitter(), { publish: () => true, close: async () => {} })
  const asking = Object.assign(new EventEmitter(), {
    prefetch: async () => {},
    close: async () => {},
  })
  const model = Object.assign(new EventEmitter(), {
    createConfirmChannel: async () => channel,
    createChannel: async () => asking,
  })
  const link = {
    connection: async () => ({ connection: Object.assign(model, { connection: {} }) }),
  } as unknown as RabbitLink
  const declared = Promise.withResolvers<void>()
  const topology = { queue: () => declared.promise, bind: async () => {} } as unknown as Topology
  const settings = rabbitSettings({ url: 'amqp://nowhere', logger: false })
  const own = ownQueues(topology, settings, async () => {})
  const publisher = new Publisher(link, topology, settings, describer([]), { own })
  return {
    own,
    publish: (queue: string) => publisher.one(toQueue(queue), undefined),
    declared,
    nack: (deliveryTag: number) => channel.emit('nack', { deliveryTag }),
  }
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('P8: a refusal that arrives after the queue was made, of a message that was written before, costs no attempt', async () => {
  const { own, publish, declared, nack } = open()
  const outcome = publish('q')
  await soon()
  const made = own.prepare('q')
  declared.resolve()
  await made
  nack(1)
  expect((await outcome).kind).toBe('unavailable')
})

test('P8: the same refusal of a message that was written later, or for another queue, counts', async () => {
  const { own, publish, declared, nack } = open()
  const elsewhere = publish('r')
  await soon()
  declared.resolve()
  await own.prepare('q')
  const later = publish('q')
  await soon()
  nack(1)
  nack(2)
  expect([(await elsewhere).kind, (await later).kind]).toEqual(['refused', 'refused'])
})
