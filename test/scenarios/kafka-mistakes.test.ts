import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { kafka, type KafkaOptions } from '../../src/kafka.ts'
import { openSecuredKafka, type SecuredKafka } from '../kafka/secured-server.ts'
import { kafkaIsHere } from '../kafka/server.ts'

const here = kafkaIsHere()
const secret = 'pa55/w&rd-of-the-canary'
const LONG_MS = 120_000
let server: SecuredKafka

beforeAll(async () => {
  if (here) server = await openSecuredKafka(secret, ['shop', 'shopper', 'nobody'])
}, LONG_MS)
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

function message(kind: 'queue' | 'topic', name: string): OutgoingMessage {
  const to = { transport: 'default', kind, name } as const
  return { id: 'id', type: 'type', headers: {}, body: Buffer.from('{}'), to }
}

/** What a transport says when it cannot be used: the error of the start, and all that it logs. */
async function failure(
  options: KafkaOptions,
  code = 'MERSAL_INVALID_OPTIONS',
): Promise<{ readonly field: unknown; readonly text: string }> {
  const lines: unknown[] = []
  const write = (...args: unknown[]): void => void lines.push(args)
  await using transport = kafka({
    connectTimeoutMs: 5000,
    ...options,
    logger: { debug: write, info: write, warn: write, error: write },
  })
  const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
  expect(caught).toMatchObject({ code })
  const outcome = await transport.publish([message('queue', 'q')])[0]
  const text = inspect([caught, outcome, lines, transport], { depth: 20, showHidden: true })
  for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
    expect(text).not.toContain(form)
  return { field: (caught as { details: { field?: unknown } }).details.field, text }
}

describe.skipIf(!here)(
  'what is wrong with a Kafka is said clearly, without the password (P14)',
  () => {
    test('a wrong password, with each mechanism, and one that the broker does not offer', async () => {
      for (const user of ['admin', 'shop']) {
        const wrong = await failure(server.as(user, `${secret}x`))
        expect([wrong.field, wrong.text]).toEqual([
          'kafka.sasl',
          expect.stringContaining('Kafka refuses user, password or token'),
        ])
      }
      const sasl = { mechanism: 'SCRAM-SHA-256', username: 'admin', password: secret } as const
      const other = await failure({ ...server.as('admin'), sasl })
      expect(other.field).toBe('kafka.sasl.mechanism')
    })

    test('a closed port', async () => {
      const closed = { ...server.as('admin'), bootstrapServers: '127.0.0.1:1' }
      const { text } = await failure(closed, 'MERSAL_UNAVAILABLE')
      expect(text).toContain('no connection to Kafka')
    })

    test('a certificate that is not trusted, one with another name, and a port without TLS', async () => {
      const options = server.as('admin')
      const { caFile } = server
      const distrusted = await failure({ ...options, tls: true })
      const renamed = await failure({ ...options, tls: { caFile, serverName: 'other.test' } })
      const unnamed = await failure({ ...options, tls: { caFile } })
      for (const { field, text } of [distrusted, renamed, unnamed])
        expect([field, text]).toEqual(['kafka.tls', expect.stringContaining('look at tls.ca')])
      const plain = createServer((socket) => socket.once('data', () => socket.destroy()))
      await once(plain.listen(0, '127.0.0.1'), 'listening')
      const { port } = plain.address() as AddressInfo
      const refused = await failure({ ...options, bootstrapServers: `127.0.0.1:${port}` })
      expect(refused.field).toBe('kafka.tls')
      plain.close()
    })

    test('a user without rights, and topics that are missing', async () => {
      const bare = await failure(server.as('nobody'))
      expect([bare.field, bare.text]).toEqual([
        'kafka.sasl',
        expect.stringContaining('docs/kafka.md'),
      ])
      const missing = await failure({ ...server.as('admin'), prefix: 'none', topology: 'check' })
      expect([missing.field, missing.text]).toEqual([
        'kafka.topology',
        expect.stringContaining("the topic 'none.topics' does not exist"),
      ])
    })

    test.each([
      ['kafka.prefix', 'retention.ms', '60000', 'set it to -1'],
      ['kafka.prefix', 'retention.bytes', '1000000', 'set it to -1'],
      ['kafka.prefix', 'cleanup.policy', 'compact', "set it to 'delete'"],
      ['kafka.maxMessageBytes', 'max.message.bytes', '2000', 'raise it to'],
    ])('a topic that does not fit: %s for %s', async (field, name, value, remedy) => {
      const prefix = `p-${name.replaceAll('.', '-')}`
      const configs = [
        { name: 'retention.ms', value: '-1' },
        { name, value },
      ]
      await server.admin.createTopics({
        topics: [`${prefix}.queue.q`],
        partitions: 2,
        replicas: 1,
        configs: configs.filter(
          (one, at) => configs.findLastIndex((x) => x.name === one.name) === at,
        ),
      })
      const found = await failure({ ...server.as('admin'), prefix })
      expect([found.field, found.text]).toEqual([field, expect.stringContaining(remedy)])
    })

    test('another number of partitions, and more copies than there are brokers', async () => {
      const options = server.as('admin')
      await using transport = kafka({ ...options, prefix: 'two' })
      await transport.subscribe('q', [])
      const cases = [
        ['kafka.partitions', { prefix: 'two', partitions: 3 }, 'set the option to that'],
        ['kafka.replicationFactor', { prefix: 'three', replicationFactor: 3 }, 'cannot be made'],
      ] as const
      for (const [field, more, remedy] of cases) {
        const found = await failure({ ...options, ...more })
        expect([found.field, found.text]).toEqual([field, expect.stringContaining(remedy)])
      }
    })
  },
)

describe.skipIf(!here)('the rights that docs/kafka.md lists', () => {
  test('are enough to subscribe, publish, consume, retry, reject, look and operate', async () => {
    await server.allow('shop', 'TOPIC', 'rights.', [
      'DESCRIBE',
      'DESCRIBE_CONFIGS',
      'READ',
      'WRITE',
      'CREATE',
      'DELETE',
    ])
    await server.allow('shop', 'GROUP', 'rights.', ['DESCRIBE', 'READ', 'ALTER_CONFIGS'])
    await using transport = kafka({ ...server.as('shop'), prefix: 'rights' })
    await transport.subscribe('q', ['topic'])
    expect(await transport.topicsOf('q')).toEqual(['topic'])
    const attempts: number[] = []
    await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, (one) => {
      attempts.push(one.attempt)
      const error = new Error('no')
      return Promise.resolve(
        one.attempt === 1
          ? { kind: 'retry', delayMs: 1500, error }
          : { kind: 'reject', reason: 'rejected', error },
      )
    })
    for (const kind of ['queue', 'topic'] as const)
      expect(await transport.publish([message(kind, kind === 'queue' ? 'q' : 'topic')])[0]).toEqual(
        {
          kind: 'confirmed',
        },
      )
    expect(await transport.publish([message('topic', 'nobody')])[0]).toMatchObject({
      reason: 'unroutable',
    })
    const box = transport.deadLettersOf('q')
    while ((await box.list()).length < 2) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(attempts.toSorted((one, other) => one - other)).toEqual([1, 1, 2, 2])
    const [letter] = await box.list()
    expect(await box.discard([letter?.key ?? ''])).toBe(1)
    expect(await transport.operations.queues({ names: ['q'] })).toMatchObject([
      { queue: 'q', dead: 1 },
    ])
    expect(
      (await transport.operations.examine({ queues: ['q'] })).map(({ level }) => level),
    ).toEqual(['ok', 'ok', 'ok', 'ok', 'ok'])
  })

  test('are needed to write: without it a message is refused, and not for good', async () => {
    await server.allow('shopper', 'TOPIC', 'rights.', ['DESCRIBE', 'DESCRIBE_CONFIGS', 'READ'])
    await using owner = kafka({ ...server.as('admin'), prefix: 'rights' })
    await owner.subscribe('w', [])
    await using transport = kafka({ ...server.as('shopper'), prefix: 'rights', topology: 'check' })
    const outcome = await transport.publish([message('queue', 'w')])[0]
    expect(outcome).toMatchObject({ kind: 'refused', permanent: false })
    await using stranger = kafka({ ...server.as('nobody'), prefix: 'rights', topology: 'check' })
    const unseen = await stranger.publish([message('queue', 'w')])[0]
    expect(unseen).toMatchObject({
      kind: 'unavailable',
      error: { message: expect.stringContaining('kafka.sasl') as string },
    })
  })
})
