import { randomUUID } from 'node:crypto'
import { connect, type Options } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import {
  checkHeaderFrame,
  headerFrameBytes,
} from '../../../src/transports/rabbitmq/publish/header-size.ts'
import { toProperties } from '../../../src/transports/rabbitmq/publish/envelope.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { publishOne, toQueue } from '../../rabbitmq/messages.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const FRAME_MAX = 4096
const unique = (): string => `q-${randomUUID()}`

function open(options: RabbitOptions = {}): RabbitTransport {
  const { username, password, hostname, port, pathname } = new URL(place.url)
  const address = {
    username,
    password,
    hostname,
    port: Number(port),
    vhost: decodeURIComponent(pathname.slice(1)),
    frameMax: FRAME_MAX,
  }
  return rabbitmq({
    connect: () => connect(address),
    queueType: 'classic',
    logger: false,
    ...options,
  })
}

const withHeader = (
  queue: string,
  length: number,
  more: Partial<OutgoingMessage> = {},
): OutgoingMessage => toQueue(queue, { headers: { long: 'x'.repeat(length) }, ...more })

/** The longest header with which a message still fits. */
function longestFor(queue: string): number {
  const rest = headerFrameBytes(toProperties(withHeader(queue, 0)))
  return FRAME_MAX - rest
}

const refusal = { kind: 'refused', reason: 'too-large', permanent: true }

function judged(outcome: PublishOutcome): string {
  return outcome.kind === 'refused'
    ? `${outcome.reason}, ${outcome.permanent ? 'for good' : 'for now'}`
    : outcome.kind
}

describe.skipIf(!here)('a connection with small frames', { timeout: 240_000 }, () => {
  test('takes what just fits into a frame, and refuses one byte more with the bound and the remedy', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const longest = longestFor(queue)
    expect(await publishOne(transport, withHeader(queue, longest))).toEqual({ kind: 'confirmed' })
    const outcome = await publishOne(transport, withHeader(queue, longest + 1))
    expect(outcome).toMatchObject({
      ...refusal,
      error: { code: 'MERSAL_TOO_LARGE', details: { bytes: 4097, limit: 4096 } },
    })
    if (outcome.kind === 'refused') expect(outcome.error.message).toContain('frame_max')
  })

  test.each([
    ['each by itself', undefined],
    ['in bundles', { messages: 100 }],
  ] as const)(
    'refuses what does not fit for good, and it costs its neighbours nothing, %s',
    async (_, bundles) => {
      await using transport = open(bundles === undefined ? {} : { bundles })
      const queue = unique()
      await transport.subscribe(queue, [])
      const messages = Array.from({ length: 92 }, (__, index) =>
        withHeader(queue, index % 4 === 0 ? 4000 + index * 400 : 50),
      )
      const outcomes = (await Promise.all(transport.publish(messages))).map(judged)
      const bundled = bundles !== undefined
      expect(outcomes.filter((outcome) => outcome === 'confirmed').length).toBeGreaterThanOrEqual(
        69,
      )
      expect(
        outcomes.filter((outcome) => outcome !== 'confirmed' && outcome !== 'too-large, for good'),
      ).toEqual([])
      if (!bundled)
        expect(
          outcomes.filter((outcome) => outcome === 'too-large, for good').length,
        ).toBeGreaterThanOrEqual(22)
    },
  )

  test('takes the longest names, and many headers as long as they fit', async () => {
    await using transport = open()
    const queue = 'q'.repeat(200)
    await transport.subscribe(queue, [])
    const many = (count: number): OutgoingMessage =>
      toQueue(queue, {
        headers: Object.fromEntries(
          Array.from({ length: count }, (_, index) => [`header-${index}`, 'v']),
        ),
      })
    expect(
      judged(await publishOne(transport, toQueue(queue, { headers: { ['n'.repeat(255)]: 'v' } }))),
    ).toBe('confirmed')
    expect(
      (await publishOne(transport, toQueue(queue, { headers: { ['n'.repeat(256)]: 'v' } }))).kind,
    ).toBe('refused')
    expect(judged(await publishOne(transport, many(200)))).toBe('confirmed')
    expect(judged(await publishOne(transport, many(2000)))).toBe('too-large, for good')
    expect(judged(await publishOne(transport, toQueue(queue)))).toBe('confirmed')
  })

  test('carries retries and dead letters of a message that came with headers as large as a frame; the bytes stay whole', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const given = [longestFor(queue), longestFor(queue) - 100, longestFor(queue) - 1000].map(
      (length) => withHeader(queue, length),
    )
    for (const message of given)
      expect(await publishOne(transport, message)).toEqual({ kind: 'confirmed' })
    const error = new Error('e'.repeat(1500))
    const consumer = await transport.consume({ queue, concurrency: 3 }, async ({ attempt }) =>
      attempt < 3
        ? { kind: 'retry', delayMs: 0, error }
        : { kind: 'reject', reason: 'handler-failed', error },
    )
    await using plain = await plainClient(place.url)
    const dead = new Map<string, Buffer>()
    while (dead.size < given.length) {
      for (const letter of await plain.drain(`${queue}.dead`))
        dead.set(letter.properties.messageId as string, letter.content)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await consumer[Symbol.asyncDispose]()
    for (const { id, body } of given) expect(dead.get(id)?.equals(body)).toBe(true)
    expect(await plain.drain(queue)).toEqual([])
  })
})

test('the size of a frame with properties is told exactly, so that a message is refused for one byte', () => {
  const some: Options.Publish = {
    headers: { n: 1, list: ['a', { b: true }], big: 2 ** 40, none: null, half: 0.5 },
    messageId: 'm',
    priority: 1,
  }
  const bytes = headerFrameBytes(some)
  expect(() => checkHeaderFrame(some, bytes)).not.toThrow()
  expect(() => checkHeaderFrame(some, bytes - 1)).toThrow('frame_max')
})
