import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type ChannelModel, connect, type Options } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { Envelope, OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { Delivery, Disposition } from '../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { openPrivateBroker, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { toQueue } from '../../rabbitmq/messages.ts'
import { cut, plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const unique = (): string => `q-${randomUUID()}`
const kindsOf = (outcomes: readonly { readonly kind: string }[]): string[] =>
  outcomes.map(({ kind }) => kind)
const numbered = (queue: string, count: number): OutgoingMessage[] =>
  Array.from({ length: count }, (_, index) =>
    toQueue(queue, { type: `m${index}`, headers: { number: String(index) } }),
  )
const ofBundles: Options.Publish = {
  contentType: 'application/vnd.mersal.bundle',
  type: 'mersal.bundle',
  messageId: 'foreign',
}

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, bundles: {}, ...options })
}

/** What the documentation gives to programs that are not ours. */
async function readerOfTheDocumentation(): Promise<(content: Buffer) => Envelope[]> {
  const page = await readFile(new URL('../../../docs/rabbitmq.md', import.meta.url), 'utf8')
  const code = /```js\n(export function openBundle[\s\S]*?)```/.exec(page)?.[1] ?? ''
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    openBundle: (content: Buffer) => Envelope[]
  }
  return module.openBundle
}

/** Handles with `handle`, and resolves when this number of deliveries have been answered. */
async function handled(
  transport: RabbitTransport,
  {
    queue,
    count,
    concurrency = 10,
  }: { readonly queue: string; readonly count: number; readonly concurrency?: number },
  handle: (delivery: Delivery) => Disposition | Promise<Disposition> = () => ({ kind: 'ack' }),
): Promise<readonly Delivery[]> {
  const deliveries: Delivery[] = []
  const all = Promise.withResolvers<void>()
  const consumption = await transport.consume({ queue, concurrency }, async (delivery) => {
    deliveries.push(delivery)
    try {
      return await handle(delivery)
    } finally {
      if (deliveries.length === count) all.resolve()
    }
  })
  await all.promise
  await consumption[Symbol.asyncDispose]()
  return deliveries
}

const seen = (deliveries: readonly Delivery[]): string[] =>
  deliveries.map(({ message, attempt }) => `${message.type} ${attempt}`)

describe.skipIf(!here)('bundles on RabbitMQ', () => {
  test('a plain client with the reader of the documentation finds every message as it was sent', async () => {
    const openBundle = await readerOfTheDocumentation()
    await using transport = open({ bundles: { messages: 7 } })
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const messages = Array.from({ length: 30 }, (_, index) =>
      toQueue(queue, {
        headers: { 'content-type': 'application/octet-stream', note: `ключ ${index}` },
        body: Uint8Array.from({ length: index * 97 }, (_byte, at) => (at * 31 + index) % 256),
      }),
    )
    expect(new Set(kindsOf(await Promise.all(transport.publish(messages))))).toEqual(
      new Set(['confirmed']),
    )
    const found = await plain.drain(queue)
    expect(found.map(({ properties }) => properties.contentType as unknown)).toEqual(
      Array.from({ length: 5 }, () => 'application/vnd.mersal.bundle'),
    )
    const opened = found.flatMap(({ content }) => openBundle(content))
    const plainly = ({ id, type, headers, body }: Envelope): unknown => ({
      id,
      type,
      headers,
      body: [...body],
    })
    expect(opened.map(plainly)).toEqual(messages.map(plainly))
  })

  test('are opened by an app that bundles nothing itself, in their order', async () => {
    await using transport = open()
    await using reader = open({ bundles: undefined as never })
    const queue = unique()
    await transport.subscribe(queue, [])
    await Promise.all(transport.publish(numbered(queue, 25)))
    const deliveries = await handled(reader, { queue, count: 25, concurrency: 1 })
    expect(seen(deliveries)).toEqual(Array.from({ length: 25 }, (_, index) => `m${index} 1`))
  })

  test('each message is settled by itself: one is tried again, one becomes a dead letter, and none of the others comes again', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const messages = numbered(queue, 5)
    await Promise.all(transport.publish(messages))
    const error = new Error('not now')
    const deliveries = await handled(transport, { queue, count: 6 }, ({ message, attempt }) => {
      if (message.type === 'm1' && attempt === 1) return { kind: 'retry', delayMs: 100, error }
      return message.type === 'm3' ? { kind: 'reject', reason: 'rejected', error } : { kind: 'ack' }
    })
    expect(seen(deliveries)).toEqual(['m0 1', 'm1 1', 'm2 1', 'm3 1', 'm4 1', 'm1 2'])
    const letters = await transport.deadLetters.list()
    expect(letters).toMatchObject([
      {
        id: messages[3]!.id,
        type: 'm3',
        reason: 'rejected',
        attempts: 1,
        headers: { number: '3' },
      },
    ])
    expect([...letters[0]!.body]).toEqual([...messages[3]!.body])
    await using plain = await plainClient(place.url)
    expect((await plain.channel.checkQueue(queue)).messageCount).toBe(0)
  })

  test.each([
    ['noise', () => Buffer.from('no bundle')],
    [
      'a bundle of a later version',
      () => Buffer.from('MSLB\u0009\u0000\u0001whatever comes then', 'latin1'),
    ],
    [
      'a bundle that claims more than it has',
      () => Buffer.from('MSLB\u0001\u0003\u00e8\u0002id', 'latin1'),
    ],
  ])(
    '%s becomes a dead letter with its bytes, and what comes behind it is handled',
    async (_, content) => {
      await using transport = open()
      await using plain = await plainClient(place.url)
      const queue = unique()
      await transport.subscribe(queue, [])
      plain.channel.sendToQueue(queue, content(), ofBundles)
      await Promise.all(transport.publish(numbered(queue, 3)))
      expect(await handled(transport, { queue, count: 3 })).toHaveLength(3)
      const [letter, ...more] = await transport.deadLetters.list()
      expect(letter).toMatchObject({
        reason: 'undecodable',
        error: expect.stringContaining('cannot be opened') as string,
      })
      expect(Buffer.from(letter!.body).equals(content())).toBe(true)
      expect(more).toEqual([])
    },
  )

  test('nobody can send a bundle that is none: the content type is refused for good', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const message = toQueue(queue, { headers: { 'content-type': 'application/vnd.mersal.bundle' } })
    const [outcome, neighbour] = await Promise.all(transport.publish([message, toQueue(queue)]))
    expect(outcome).toMatchObject({
      kind: 'refused',
      permanent: true,
      error: { code: 'MERSAL_REFUSED' },
    })
    expect(neighbour).toEqual({ kind: 'confirmed' })
  })

  test('a bundle whose consumer was lost goes on as single messages at the end of the queue, so that its attempts are those of each', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    await Promise.all(transport.publish(numbered(queue, 4)))
    await Promise.all(transport.publish([toQueue(queue, { type: 'behind' })]))
    {
      const models: ChannelModel[] = []
      const connecting = async (): Promise<ChannelModel> => {
        const model = await connect(place.url, { noDelay: true })
        models.push(model)
        return model
      }
      await using victim = rabbitmq({ connect: connecting, logger: false, newQueuePauseMs: 0 })
      const begun = Promise.withResolvers<void>()
      await victim.consume({ queue, concurrency: 1 }, ({ message }) => {
        if (message.type === 'm0') return Promise.resolve({ kind: 'ack' })
        begun.resolve()
        return new Promise(() => {})
      })
      await begun.promise
      models.forEach(cut)
    }
    const deliveries = await handled(
      transport,
      { queue, count: 6, concurrency: 1 },
      ({ message, attempt }) =>
        message.type === 'm2' && attempt === 2
          ? { kind: 'retry', delayMs: 0, error: new Error('not now') }
          : { kind: 'ack' },
    )
    expect(seen(deliveries)).toEqual(['behind 1', 'm0 2', 'm1 2', 'm2 2', 'm3 2', 'm2 3'])
  })

  test('with a single active consumer a lost connection changes no order, and a third delivery goes on as single messages', async () => {
    await using transport = open({ singleActiveConsumer: true })
    const queue = unique()
    await transport.subscribe(queue, [])
    await Promise.all(transport.publish(numbered(queue, 3)))
    await Promise.all(transport.publish(numbered(queue, 1)))
    // A quorum queue with a single active consumer gives nothing to who only fetches.
    const giveBack = async (): Promise<void> => {
      await using plain = await plainClient(place.url)
      await plain.channel.prefetch(1)
      const { promise: held, resolve } = Promise.withResolvers<unknown>()
      await plain.channel.consume(queue, resolve)
      await held
    }
    await giveBack()
    const order = await handled(transport, { queue, count: 4, concurrency: 1 })
    expect(seen(order)).toEqual(['m0 2', 'm1 2', 'm2 2', 'm0 1'])
    await Promise.all(transport.publish(numbered(queue, 3)))
    await Promise.all(transport.publish(numbered(queue, 1)))
    await giveBack()
    await giveBack()
    expect(seen(await handled(transport, { queue, count: 4, concurrency: 1 }))).toEqual([
      'm0 1',
      'm0 3',
      'm1 3',
      'm2 3',
    ])
  })

  test('a consumer that stops gives back what it has not begun, and acknowledges what it has handled', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    await Promise.all(transport.publish(numbered(queue, 6)))
    const [begun, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const first: string[] = []
    const consumption = await transport.consume({ queue, concurrency: 2 }, async ({ message }) => {
      first.push(message.type)
      if (first.length === 2) begun.resolve()
      await go.promise
      return { kind: 'ack' }
    })
    await begun.promise
    const stopping = consumption[Symbol.asyncDispose]()
    go.resolve()
    await stopping
    expect(first).toEqual(['m0', 'm1'])
    expect(seen(await handled(transport, { queue, count: 4, concurrency: 1 }))).toEqual([
      'm2 1',
      'm3 1',
      'm4 1',
      'm5 1',
    ])
  })

  test('a bundle that somebody threw away stands in the dead letters as its messages, which are retried and discarded one by one', async () => {
    await using transport = open()
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const messages = numbered(queue, 4)
    await Promise.all(transport.publish(messages))
    const fetched = await plain.channel.get(queue)
    if (fetched === false) throw new Error('the queue is empty')
    plain.channel.nack(fetched, false, false)
    await expect.poll(() => transport.deadLetters.list(), { timeout: 10_000 }).toHaveLength(4)
    const letters = await transport.deadLetters.list()
    expect(letters.map(({ id }) => id)).toEqual(messages.map(({ id }) => id))
    for (const { error } of letters) expect(error).toMatch(/rejected/)
    const page = await transport.deadLetters.list({ limit: 2 })
    expect(page.map(({ type }) => type)).toEqual(['m0', 'm1'])
    expect(
      (await transport.deadLetters.list({ after: page[1]!.key })).map(({ type }) => type),
    ).toEqual(['m2', 'm3'])
    expect(await transport.deadLetters.retry([letters[1]!.key])).toBe(1)
    expect(await transport.deadLetters.discard([letters[2]!.key])).toBe(1)
    const rest = await transport.deadLetters.list()
    expect(rest.map(({ type, key, error }) => [type, key, error])).toEqual(
      [letters[0]!, letters[3]!].map(({ type, key, error }) => [type, key, error]),
    )
    const [back, ...more] = await handled(transport, { queue, count: 1 })
    expect([back?.message.id, back?.attempt, more]).toEqual([messages[1]!.id, 1, []])
  })

  test('a full queue refuses the bundle, and then each message alone', async () => {
    await using transport = open({
      queueType: 'classic',
      queueArguments: { 'x-max-length': 3, 'x-overflow': 'reject-publish' },
    })
    await using plain = await plainClient(place.url)
    const queue = unique()
    await transport.subscribe(queue, [])
    const outcomes: string[] = []
    for (let turn = 0; turn < 4; turn++)
      outcomes.push(...kindsOf(await Promise.all(transport.publish(numbered(queue, 2)))))
    expect(outcomes).toEqual([
      ...Array.from({ length: 6 }, () => 'confirmed'),
      'refused',
      'refused',
    ])
    expect(await plain.drain(queue)).toHaveLength(3)
  })

  test('a broker whose limit is below that of the bundles refuses none of the messages, and no later bundle', async () => {
    await using broker = await openPrivateBroker(['max_message_size = 4000'])
    await using transport = rabbitmq({
      url: broker.url,
      logger: false,
      newQueuePauseMs: 0,
      bundles: {},
    })
    const queue = unique()
    await transport.subscribe(queue, [])
    const large = (): OutgoingMessage[] =>
      numbered(queue, 8).map((message) => ({ ...message, body: new Uint8Array(1000) }))
    for (let turn = 0; turn < 2; turn++) {
      expect(kindsOf(await Promise.all(transport.publish(large())))).toEqual(
        Array.from({ length: 8 }, () => 'confirmed'),
      )
    }
    expect(await handled(transport, { queue, count: 16 })).toHaveLength(16)
  })

  test.each([
    [{ messages: 1 }, 'rabbitmq.bundles.messages', /from 2 to 1000/],
    [{ messages: 1001 }, 'rabbitmq.bundles.messages', /from 2 to 1000/],
    [{ bytes: 10 }, 'rabbitmq.bundles.bytes', /from 1024 to/],
    [{ bytes: 3_000_000 }, 'rabbitmq.bundles.bytes', /to 2000000/],
    [{ events: 'yes' }, 'rabbitmq.bundles.events', /true or false/],
    [{ mesages: 10 }, 'rabbitmq.bundles.mesages', /did you mean 'messages'/],
    [true, 'rabbitmq.bundles', /an object with options/],
  ])('the options %j are an error that names %s', (bundles, field, text) => {
    const make = (): RabbitTransport =>
      rabbitmq({ url: place.url, maxMessageBytes: 2_000_000, bundles: bundles as never })
    expect(make).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }) as Error,
    )
    expect(make).toThrow(text)
  })
})
