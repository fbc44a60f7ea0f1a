import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { publishOne, toQueue, toTopic } from '../../rabbitmq/messages.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const unique = (): string => `q-${randomUUID()}`

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, ...options })
}

describe.skipIf(!here)('what is wrong with a RabbitMQ is said clearly', () => {
  const secret = 'pa55/w&rd-of-the-canary'

  async function failure(options: RabbitOptions): Promise<string> {
    const lines: unknown[] = []
    const write = (...args: unknown[]): void => void lines.push(args)
    await using transport = rabbitmq({
      connectTimeoutMs: 1000,
      logger: { debug: write, info: write, warn: write, error: write },
      ...options,
    })
    const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
    expect(caught).toBeInstanceOf(Error)
    const outcome = await publishOne(transport, toQueue('q'))
    expect(outcome.kind).toBe('unavailable')
    return inspect([caught, outcome, lines, transport], { depth: 20, showHidden: true })
  }

  test.each([
    [
      'a wrong password',
      () => `amqp://guest:${encodeURIComponent(secret)}@127.0.0.1:5672/${place.vhost}`,
      'Correct user and password',
    ],
    ['a missing vhost', () => `amqp://guest:guest@127.0.0.1:5672/no-such-vhost`, 'no-such-vhost'],
    [
      'a closed port',
      () => `amqp://guest:${encodeURIComponent(secret)}@127.0.0.1:1/`,
      'ECONNREFUSED',
    ],
  ])('%s, without the password', async (_, url, expected) => {
    const text = await failure({ url: url() })
    expect(text).toContain(expected)
    expect(text).not.toContain(secret)
    expect(text).not.toContain(encodeURIComponent(secret))
  })

  test('a `connect` whose error shows the URL', async () => {
    const text = await failure({
      connect: () =>
        Promise.reject(new Error(`cannot reach amqp://guest:${encodeURIComponent(secret)}@host/`)),
    })
    expect(text).toContain('cannot reach amqp://***@host/')
    expect(text).not.toContain(encodeURIComponent(secret))
  })

  test.each([
    ['a space in the host', `amqp://guest:s3cret@ho st/`],
    ['another protocol', `https://guest:s3cret@host/`],
    ['a password with a lone percent sign', `amqp://guest:s3cret%zz@host/`],
    ['no URL at all', `s3cret`],
    ['settings after the vhost', `amqp://guest:s3cret@host/v?heartbeat=1`],
  ])('a URL with %s, without the password', (_, url) => {
    let caught: unknown
    try {
      rabbitmq({ url })
    } catch (error) {
      caught = error
    }
    expect(caught).toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'rabbitmq.url' },
    })
    expect(inspect(caught, { depth: 20, showHidden: true })).not.toContain('s3cret')
  })

  test('options that do not exist, with the nearest one, and options that lose messages', () => {
    const make = (options: object) => () => rabbitmq({ url: 'amqp://h', ...options })
    expect(make({ topologi: 'declare' })).toThrow("did you mean 'topology'?")
    expect(make({ queueArguments: { 'x-max-length': 5, 'x-overflow': 'drop-head' } })).toThrow(
      'drop messages that were confirmed',
    )
    expect(make({ queueArguments: { 'x-expires': 5 } })).toThrow('remove the queue')
    expect(make({ connect: () => {} })).toThrow("give either 'url' or 'connect'")
    expect(make({ heartbeatSeconds: 0 })).toThrow('rabbitmq.heartbeatSeconds')
  })

  test('a queue that exists with other properties: dropping its head, not durable, or of another type', async () => {
    await using plain = await plainClient(place.url)
    await using transport = open()
    for (const options of [
      { durable: true, arguments: { 'x-max-length': 1 } },
      { durable: false },
      { durable: true, autoDelete: true },
    ]) {
      const queue = unique()
      await plain.channel.assertQueue(queue, options)
      await expect(transport.subscribe(queue, [])).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining(`queue '${queue}' exists with other properties`) as string,
      })
      await plain.channel.deleteQueue(queue)
    }
    await transport.subscribe(unique(), [])
  })

  test('with `check`, a missing queue and a missing exchange, and other messages go on', async () => {
    await using owner = open()
    await using transport = open({ topology: 'check', eventsExchange: unique() })
    const queue = unique()
    await expect(transport.subscribe(queue, [])).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
    })
    await expect(
      transport.consume({ queue, concurrency: 1 }, async () => ({ kind: 'ack' })),
    ).rejects.toThrow('does not exist')
    await owner.subscribe(queue, [])
    await transport.subscribe(queue, [])
    const outcomes = await Promise.all(transport.publish([toTopic('x'), toQueue(queue)]))
    expect(outcomes).toMatchObject([
      { kind: 'refused', reason: 'unroutable' },
      { kind: 'confirmed' },
    ])
  })

  test('a user without privileges', async () => {
    const user = `u${Date.now()}`
    await place.ctl('add_user', user, secret)
    try {
      await place.ctl('set_permissions', '-p', place.vhost, user, '^$', '^$', '^$')
      await using transport = rabbitmq({
        url: `amqp://${user}:${encodeURIComponent(secret)}@127.0.0.1:5672/${place.vhost}`,
        logger: false,
      })
      const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
      expect(caught).toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining('no privilege') as string,
      })
      expect(inspect(caught, { depth: 20 })).not.toContain(secret)
    } finally {
      await place.ctl('delete_user', user)
    }
  })
})
