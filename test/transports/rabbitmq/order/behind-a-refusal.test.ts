import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { plainClient } from '../../../rabbitmq/plain-client.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

test.skipIf(!here)(
  'P5: a channel of RabbitMQ takes what follows a message that it has refused, so one message of a key is on its way at a time',
  async () => {
    const queue = `q-${randomUUID()}`
    const model = await connect(place.url)
    const channel = await model.createConfirmChannel()
    const returned: string[] = []
    channel.on('return', ({ content }) => returned.push(String(content)))
    const send = (text: string): boolean =>
      channel.sendToQueue(queue, Buffer.from(text), { mandatory: true, persistent: true })
    // All of it is written before anything is answered, in this order.
    send('first')
    const declared = channel.assertQueue(queue)
    send('second')
    await Promise.all([declared, channel.waitForConfirms()])
    await model.close()
    await using client = await plainClient(place.url)
    const taken = await client.drain(queue)
    expect(returned).toEqual(['first'])
    expect(taken.map(({ content }) => String(content))).toEqual(['second'])
    await using transport = rabbitmq({ url: place.url, logger: false })
    expect(transport.features.ordering).toBe('none')
  },
)
