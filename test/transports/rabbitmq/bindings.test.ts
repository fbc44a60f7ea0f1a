import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { rabbitmq, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { publishOne, toTopic } from '../../rabbitmq/messages.ts'
import { plainly } from '../../rabbitmq/outage/tap.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const open = (): RabbitTransport => rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0 })

describe.skipIf(!here)(
  'P10: a consumer gets its bindings back, although it publishes nothing',
  () => {
    test('after an operator deleted the events exchange, and another process made it again', {
      timeout: 240_000,
    }, async () => {
      await using consumer = open()
      await using publisher = open()
      const [topic, queue] = [`t-${randomUUID()}`, `q-${randomUUID()}`]
      const handled: string[] = []
      await consumer.subscribe(queue, [topic])
      await using _ = await consumer.consume({ queue, concurrency: 1 }, async ({ message }) => {
        handled.push(message.id)
        return { kind: 'ack' }
      })
      await plainly(place.url, (channel) => channel.deleteExchange('mersal.events'))
      // As a relay does: again until somebody takes it.
      let last = toTopic(topic)
      for (
        let tries = 0;
        tries < 200 && (await publishOne(publisher, last)).kind !== 'confirmed';
        tries += 1
      ) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        last = toTopic(topic)
      }
      await expect.poll(() => handled, { timeout: 5000 }).toEqual([last.id])
    })

    test('but a topic that it gave up stays away', { timeout: 240_000 }, async () => {
      await using consumer = open()
      const [kept, removed, queue] = [`t-${randomUUID()}`, `t-${randomUUID()}`, `q-${randomUUID()}`]
      await consumer.subscribe(queue, [kept, removed])
      await using _ = await consumer.consume({ queue, concurrency: 1 }, async () => ({
        kind: 'ack',
      }))
      await consumer.subscribe(queue, [removed], { remove: true })
      const bindings = async (): Promise<string[]> =>
        (await place.bindings()).flatMap((each) =>
          each.queue === queue && each.exchange !== '' ? [each.key] : [],
        )
      expect(await bindings()).toEqual([kept])
      // Confirmed by the broker. To look would be too late: the binding may be back before the
      // answer is.
      await plainly(place.url, (channel) => channel.unbindQueue(queue, 'mersal.events', kept))
      await expect.poll(bindings, { timeout: 20_000, interval: 500 }).toEqual([kept])
    })
  },
)
