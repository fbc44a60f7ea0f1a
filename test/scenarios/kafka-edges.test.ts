import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { Producer as PlainProducer } from '@platformatic/kafka'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition, PublishOutcome } from '../../src/core/transport.ts'
import { kafka, type KafkaOptions, type KafkaTransport } from '../../src/kafka.ts'
import { withHiddenTopics } from '../kafka/hidden-topics.ts'
import { type PlainClient, plainClient } from '../kafka/plain-client.ts'
import { kafkaIsHere, openPrivateKafka, type PrivateKafka } from '../kafka/server.ts'

const here = kafkaIsHere()
const LONG_MS = 120_000
let server: PrivateKafka
let count = 0

beforeAll(async () => {
  if (here) server = await openPrivateKafka()
}, LONG_MS)
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

/** A place of its own on the broker. */
const place = (): KafkaOptions & { readonly prefix: string } => ({
  bootstrapServers: server.server,
  prefix: `e${++count}`,
  partitions: 1,
  sessionTimeoutMs: 1000,
  logger: false,
})

function message(kind: 'queue' | 'topic', name: string): OutgoingMessage {
  const to = { transport: 'default', kind, name } as const
  return { id: randomUUID(), type: 'type', headers: {}, body: Buffer.from('{}'), to }
}

async function published(
  sender: Pick<KafkaTransport, 'publish'>,
  one: OutgoingMessage,
): Promise<PublishOutcome> {
  return (await sender.publish([one])[0]) as PublishOutcome
}

/** Another one when a topic was made again. Undefined: there is none. */
async function topicId({ admin }: PlainClient, topic: string): Promise<string | undefined> {
  if (!(await admin.listTopics()).includes(topic)) return undefined
  const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true })
  return topics.get(topic)?.id
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await wait(20)
}

describe.skipIf(!here)('an event, while a broker of Kafka does not know all of its topics', () => {
  test('is not confirmed with only some of its queues, and reaches all of them in the end', async () => {
    const options = place()
    await using owner = kafka(options)
    await owner.subscribe('one', ['event'])
    await owner.subscribe('two', ['event'])
    await using starting = withHiddenTopics(options)
    const two = starting.names.queueTopic('two')
    starting.hidden.add(two)
    const event = message('topic', 'event')
    expect(await published(starting.publisher, event)).toMatchObject({
      kind: 'unavailable',
      error: { message: `the broker does not know '${two}' yet` },
    })
    await using plain = await plainClient(server.server)
    expect(await plain.all(starting.names.queueTopic('one'))).toEqual([])
    starting.hidden.clear()
    expect(await published(starting.publisher, event)).toEqual({ kind: 'confirmed' })
    for (const queue of ['one', 'two'])
      expect(await plain.read(starting.names.queueTopic(queue), 1)).toMatchObject([
        { headers: { 'mersal-id': event.id } },
      ])
  })

  test.each(['refuse', 'discard'] as const)(
    'is not taken for one that nobody wants (%s)',
    async (eventsWithoutSubscribers) => {
      const options = { ...place(), eventsWithoutSubscribers }
      await using owner = kafka(options)
      await owner.subscribe('one', ['event'])
      await using starting = withHiddenTopics(options)
      const event = message('topic', 'event')
      starting.hidden.add(starting.names.topics)
      expect(await published(starting.publisher, event)).toMatchObject({ kind: 'unavailable' })
      starting.hidden.clear()
      starting.hidden.add(starting.names.queueTopic('one'))
      expect(await published(starting.publisher, event)).toMatchObject({ kind: 'unavailable' })
      starting.hidden.clear()
      expect(await published(starting.publisher, event)).toEqual({ kind: 'confirmed' })
    },
  )

  test('is discarded at once where there is nothing at all', async () => {
    await using sender = kafka({ ...place(), eventsWithoutSubscribers: 'discard' })
    expect(await published(sender, message('topic', 'event'))).toEqual({ kind: 'confirmed' })
  })

  test('is confirmed without a queue that somebody has deleted, and not without all of them', async () => {
    const options = { ...place(), eventsWithoutSubscribers: 'discard' as const }
    await using owner = kafka(options)
    for (const queue of ['one', 'two']) await owner.subscribe(queue, ['event'])
    await using sender = kafka(options)
    await using plain = await plainClient(server.server)
    await plain.admin.deleteTopics({ topics: [`${options.prefix}.queue.two`] })
    expect(await published(sender, message('topic', 'event'))).toEqual({ kind: 'confirmed' })
    await plain.admin.deleteTopics({ topics: [`${options.prefix}.queue.one`] })
    // A broker goes on to store for a moment.
    let outcome: PublishOutcome
    do outcome = await published(sender, message('topic', 'event'))
    while (outcome.kind === 'confirmed')
    expect(outcome).toMatchObject({ kind: 'refused', reason: 'unroutable' })
  })
})

describe.skipIf(!here)('what a foreign program does to Kafka', () => {
  test('a header that is named like ours kills no consumer', async () => {
    const options = place()
    await using transport = kafka(options)
    await transport.subscribe('q', [])
    const plain = new PlainProducer({ clientId: 'plain', bootstrapBrokers: [server.server] })
    const asides = ['yes', '{', 'null', '{"reason":7}', '{"reason":"because","error":"x"}']
    await plain.send({
      messages: asides.map((aside) => ({
        topic: `${options.prefix}.queue.q`,
        partition: 0,
        value: Buffer.from('{}'),
        headers: new Map(
          Object.entries({ 'mersal-id': aside, 'mersal-type': 't', 'mersal-aside': aside }).map(
            ([name, value]) => [Buffer.from(name), Buffer.from(value)],
          ),
        ),
      })),
    })
    await plain.close()
    const handled: string[] = []
    await using _consumption = await transport.consume({ queue: 'q', concurrency: 5 }, (one) => {
      handled.push(one.message.id)
      return Promise.resolve({ kind: 'ack' })
    })
    await until(() => handled.length >= asides.length)
    expect(handled.toSorted()).toEqual(asides.toSorted())
  })

  test(
    'a topic that is deleted and made again loses no message, and no dead letter',
    async () => {
      const options = place()
      await using transport = kafka(options)
      await transport.subscribe('q', [])
      const handled: string[] = []
      const reject = ({ message: { id } }: Delivery): Promise<Disposition> => {
        handled.push(id)
        return Promise.resolve({ kind: 'reject', reason: 'rejected', error: new Error('no') })
      }
      await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, reject)
      const [before, after] = [0, 1].map(() =>
        Array.from({ length: 3 }, () => message('queue', 'q')),
      ) as [OutgoingMessage[], OutgoingMessage[]]
      await Promise.all(transport.publish(before))
      const box = transport.deadLettersOf('q')
      await until(async () => (await box.list()).length === 3)
      await using plain = await plainClient(server.server)
      const topic = `${options.prefix}.queue.q`
      const old = await topicId(plain, topic)
      await plain.admin.deleteTopics({ topics: [topic] })
      // Until then a broker goes on to confirm, and forgets what it confirmed.
      await until(async () => ![undefined, old].includes(await topicId(plain, topic)))
      for (const one of after)
        await until(async () => (await published(transport, one)).kind === 'confirmed')
      await until(() => handled.length >= 6)
      await until(async () => (await box.list()).length >= 6)
      expect((await box.list()).map(({ id }) => id).toSorted()).toEqual(
        [...before, ...after].map(({ id }) => id).toSorted(),
      )
    },
    LONG_MS,
  )
})

describe.skipIf(!here)('a record that Kafka finds invalid', () => {
  test('is refused for good, and none of those beside it', async () => {
    const options = place()
    await using owner = kafka(options)
    await owner.subscribe('q', [])
    await using parts = withHiddenTopics(options)
    // A compacted topic takes no record without a key.
    const topic = parts.names.deadTopic('q')
    const keys = ['a', undefined, 'b', 'c']
    const answers = await Promise.all(
      keys.map((key) =>
        parts.producer.send({
          topic,
          partition: 0,
          ...(key === undefined ? {} : { key: Buffer.from(key) }),
          headers: new Map(),
          body: Buffer.from('{}'),
        }),
      ),
    )
    expect(answers.map(({ kind }) => kind)).toEqual([
      'confirmed',
      'refused',
      'confirmed',
      'confirmed',
    ])
    expect(answers[1]).toMatchObject({ permanent: true })
    await using plain = await plainClient(server.server)
    expect((await plain.read(topic, 3)).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
  })
})

describe.skipIf(!here)('the end of a consumer of Kafka', () => {
  test.each([0, 5, 20])(
    'comes although it has only begun, %i ms before its transport is closed',
    async (ms) => {
      const options = place()
      const transport = kafka(options)
      await transport.subscribe('q', [])
      const beginning = transport.consume({ queue: 'q', concurrency: 1 }, () =>
        Promise.resolve({ kind: 'ack' }),
      )
      let begun = false
      const outcome = Promise.allSettled([beginning.then(() => (begun = true))])
      if (ms > 0) await wait(ms)
      const inTime = begun
      await transport[Symbol.asyncDispose]()
      // On a quick machine it may have begun by then, and ends like any other.
      expect(inTime && ms === 0).toBe(false)
      expect(await outcome).toMatchObject([
        inTime
          ? { status: 'fulfilled' }
          : { status: 'rejected', reason: { code: 'MERSAL_APP_STOPPED' } },
      ])
      // Nobody holds the partition: another one gets the message.
      await using other = kafka(options)
      const came = Promise.withResolvers<void>()
      await using _consumption = await other.consume({ queue: 'q', concurrency: 1 }, () => {
        came.resolve()
        return Promise.resolve({ kind: 'ack' })
      })
      expect(await published(other, message('queue', 'q'))).toEqual({ kind: 'confirmed' })
      await came.promise
    },
  )

  test.each(['SIGSTOP', 'SIGKILL'] as const)(
    'waits at most two seconds for a broker that is away (%s)',
    async (signal) => {
      const options = place()
      await using transport = kafka(options)
      await transport.subscribe('q', [])
      const inHand = Promise.withResolvers<void>()
      const finish = Promise.withResolvers<void>()
      const consumption = await transport.consume({ queue: 'q', concurrency: 1 }, async () => {
        inHand.resolve()
        await finish.promise
        return { kind: 'ack' }
      })
      const two = [message('queue', 'q'), message('queue', 'q')]
      await Promise.all(transport.publish(two))
      await inHand.promise
      await server.signal(signal)
      try {
        // The next message waits for its commit, and what this one decides is to be noted.
        finish.resolve()
        await wait(300)
        const began = performance.now()
        await consumption[Symbol.asyncDispose]()
        expect(performance.now() - began).toBeLessThan(3000)
      } finally {
        if (signal === 'SIGSTOP') await server.signal('SIGCONT')
        else await server.start()
      }
    },
    LONG_MS,
  )
})
