import { headers as natsHeaders } from '@nats-io/transport-node'
import { jetstream } from '@nats-io/jetstream'
import { describe, expect, test } from 'vitest'
import { type Envelope, Mersal, type Transport, command } from '../../../src/index.ts'
import { cloudEvents } from '../../../src/contracts/index.ts'
import { kafka } from '../../../src/kafka.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { plainClient as plainKafka } from '../../kafka/plain-client.ts'
import { kafkaIsHere, openKafka } from '../../kafka/server.ts'
import { plainClient as plainNats } from '../../nats/plain-client.ts'
import { natsIsHere, openPrivateNats } from '../../nats/server.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient as plainRabbit } from '../../rabbitmq/plain-client.ts'

const Greet = command<{ name: string }>('com.example.greet')
const body = Buffer.from('{"name":"Zoë"}')

function open(name: string, transport: Transport) {
  const wireFormat = cloudEvents({ source: '/greeters/Zoë' })
  return new Mersal({
    name,
    transport,
    wireFormat,
    logger: false,
    routes: { [Greet.name]: 'copy' },
  })
}

/** Receives one message of the queue `greeter`, which `send` puts there. */
async function receive(transport: Transport, send: () => Promise<void>) {
  const handled = Promise.withResolvers<{ readonly given: unknown; readonly message: Envelope }>()
  await using app = open('greeter', transport)
  app.handle(Greet, (given, { message }) => handled.resolve({ given, message }))
  await app.start()
  await send()
  return await handled.promise
}

/** Sends one message to the queue `copy`, which is made before. Returns its id. */
async function sendOne(transport: () => Transport): Promise<string> {
  await using copy = open('copy', transport())
  copy.handle(Greet, () => {})
  await copy.start()
  await copy.stop()
  await using app = open('sender', transport())
  return await app.direct.send(Greet, { name: 'Zoë' })
}

/** The message `A-234` of somebody else, with this subject. */
function assertReceived(
  { given, message }: Awaited<ReturnType<typeof receive>>,
  subject: string,
): void {
  expect(given).toEqual({ name: 'Zoë' })
  expect(message.headers).toMatchObject({
    'ce-id': 'A-234',
    'ce-subject': subject,
    'content-type': 'application/json',
  })
}

describe.skipIf(!(await rabbitIsHere()))('CloudEvents over RabbitMQ', () => {
  const transportAt = (url: string) => rabbitmq({ url, newQueuePauseMs: 0, logger: false })

  test.each(['cloudEvents:', 'cloudEvents_'])('with %s come in', async (prefix) => {
    await using place = await openVhost()
    await using plain = await plainRabbit(place.url)
    const { given, message } = await receive(transportAt(place.url), async () => {
      plain.channel.sendToQueue('greeter', body, {
        contentType: 'application/json',
        headers: {
          [`${prefix}specversion`]: '1.0',
          [`${prefix}id`]: 'A-234',
          [`${prefix}source`]: '/others',
          [`${prefix}type`]: Greet.name,
          [`${prefix}subject`]: 'Größe',
        },
      })
      await Promise.resolve()
    })
    expect(given).toEqual({ name: 'Zoë' })
    expect(message.headers).toMatchObject({ 'ce-id': 'A-234', 'ce-subject': 'Größe' })
  })

  test('go out as the binding says', async () => {
    await using place = await openVhost()
    await using plain = await plainRabbit(place.url)
    await plain.channel.assertQueue('copy', { durable: true })
    await using app = open('sender', transportAt(place.url))
    const id = await app.direct.send(Greet, { name: 'Zoë' })
    const [copy] = await plain.drain('copy')
    expect(copy?.properties.contentType).toBe('application/json')
    expect(copy?.content).toEqual(body)
    expect(copy?.properties.headers).toMatchObject({
      cloudEvents_specversion: '1.0',
      cloudEvents_id: id,
      cloudEvents_source: '/greeters/Zoë',
      cloudEvents_type: Greet.name,
      cloudEvents_time: expect.stringMatching(/^\d{4}-.*Z$/),
    })
  })
})

describe.skipIf(!natsIsHere())('CloudEvents over NATS', () => {
  test('come in and go out as the binding says', async () => {
    await using server = await openPrivateNats()
    await using plain = await plainNats(server.url)
    const transport = () => nats({ url: server.url, prefix: 'ce', logger: false })
    const received = await receive(transport(), async () => {
      const headers = natsHeaders()
      headers.set('ce-specversion', '1.0')
      headers.set('ce-id', 'A-234')
      headers.set('ce-source', '/others')
      headers.set('ce-type', Greet.name)
      headers.set('ce-subject', 'Gr%C3%B6%C3%9Fe%20%22x%22')
      headers.set('ce-datacontenttype', 'application/json')
      await jetstream(plain.connection).publish('ce.queue.greeter', body, { headers })
    })
    assertReceived(received, 'Größe "x"')

    const id = await sendOne(transport)
    const [stored] = await plain.read('ce-queue-copy')
    expect(stored?.headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-source': '/greeters/Zo%C3%AB',
      'ce-type': Greet.name,
      'ce-datacontenttype': 'application/json',
    })
    expect(Buffer.from(stored!.body)).toEqual(body)
  })
})

describe.skipIf(!kafkaIsHere('any'))('CloudEvents over Kafka', () => {
  test('come in and go out as the binding says', async () => {
    await using broker = await openKafka()
    await using plain = await plainKafka(broker.server)
    const prefix = `ce-${crypto.randomUUID().slice(0, 8)}`
    const transport = () => kafka({ bootstrapServers: broker.server, prefix, logger: false })
    const received = await receive(transport(), () =>
      plain.write(`${prefix}.queue.greeter`, {
        body,
        headers: {
          ce_specversion: '1.0',
          ce_id: 'A-234',
          ce_source: '/others',
          ce_type: Greet.name,
          ce_subject: 'Größe',
          'content-type': 'application/json',
        },
      }),
    )
    assertReceived(received, 'Größe')

    const id = await sendOne(transport)
    const [stored] = await plain.read(`${prefix}.queue.copy`, 1)
    expect(stored?.headers).toMatchObject({
      ce_specversion: '1.0',
      ce_id: id,
      ce_source: '/greeters/Zoë',
      ce_type: Greet.name,
      'content-type': 'application/json',
    })
    expect(Buffer.from(stored!.body!)).toEqual(body)
    await plain.removeAll(prefix)
  })
})
