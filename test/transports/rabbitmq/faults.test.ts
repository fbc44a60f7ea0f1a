import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { openPrivateBroker, type PrivateBroker, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { ordersTo } from '../../rabbitmq/broker-orders.ts'
import { publishOne, publishUntilConfirmed, toQueue } from '../../rabbitmq/messages.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const BROKER_LIMIT = 100_000
let broker: PrivateBroker

beforeAll(async () => {
  if (here) broker = await openPrivateBroker([`max_message_size = ${BROKER_LIMIT}`])
})
afterAll(async () => {
  if (here) await broker[Symbol.asyncDispose]()
})

const unique = (): string => `q-${randomUUID()}`

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: broker.url, logger: false, ...options })
}

/** Publishes one message after the other, each until it is confirmed, while the fault happens. */
async function publishThrough(
  transport: RabbitTransport,
  queue: string,
  fault: () => Promise<void>,
) {
  const confirmed: OutgoingMessage[] = []
  const outcomes: string[] = []
  let healed = Number.POSITIVE_INFINITY
  let recovery = Number.POSITIVE_INFINITY
  const faulty = (async () => {
    await fault()
    healed = performance.now()
  })()
  let after = 0
  while (after < 20) {
    const message = toQueue(queue)
    for (const outcome of await publishUntilConfirmed(transport, message))
      outcomes.push(outcome.kind)
    confirmed.push(message)
    // A steady trickle: enough to be in the middle of things, not more than a plain client reads
    // back quickly.
    await pause(5)
    if (performance.now() < healed) continue
    if (after++ === 0) recovery = performance.now() - healed
  }
  await faulty
  return { confirmed, outcomes, recovery }
}

/**
 * Every confirmed message is in the queue, with its bytes; nothing else is; extra copies only for
 * unknown outcomes.
 */
async function readBack(
  queue: string,
  confirmed: readonly OutgoingMessage[],
  outcomes: readonly string[],
): Promise<void> {
  await using plain = await plainClient(broker.url)
  const found = await plain.drain(queue)
  const bodies = new Map(
    found.map((message) => [message.properties.messageId as string, message.content]),
  )
  const lost = confirmed.filter(({ id, body }) => bodies.get(id)?.equals(body) !== true)
  const sent = new Set(confirmed.map(({ id }) => id))
  const phantoms = found.filter((message) => !sent.has(message.properties.messageId as string))
  expect([lost.length, phantoms.length]).toEqual([0, 0])
  expect(found.length - confirmed.length).toBeLessThanOrEqual(
    outcomes.filter((kind) => kind === 'unknown').length,
  )
  expect(outcomes).not.toContain('refused')
}

describe.skipIf(!here)('a RabbitMQ that fails', () => {
  test.each([
    ['is restarted in good order', () => broker.stop()],
    ['is killed', () => broker.signal('SIGKILL')],
  ])(
    'and %s loses no confirmed message, and publishing resumes within five seconds',
    async (_, end) => {
      await using transport = open()
      const queue = unique()
      await transport.subscribe(queue, [])
      const { confirmed, outcomes, recovery } = await publishThrough(transport, queue, async () => {
        await end()
        await broker.start()
      })
      expect(outcomes).toContain('unavailable')
      expect(recovery).toBeLessThan(5000)
      await readBack(queue, confirmed, outcomes)
    },
    120_000,
  )

  test('a delayed retry survives a crash of the broker with its attempt', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const message = toQueue(queue)
    await publishOne(transport, message)
    const attempts: number[] = []
    const { promise: again, resolve } = Promise.withResolvers<void>()
    const consumption = await transport.consume({ queue, concurrency: 1 }, ({ attempt }) => {
      attempts.push(attempt)
      if (attempt > 1) resolve()
      return Promise.resolve(
        attempt === 1
          ? { kind: 'retry', delayMs: 3000, error: new Error('later') }
          : { kind: 'ack' },
      )
    })
    const waiting = async (): Promise<number> => {
      // A client for each look: asking for a queue that is not there yet closes the channel.
      await using plain = await plainClient(broker.url)
      const found = await plain.channel.checkQueue(`${queue}.retry.3000`).catch(() => undefined)
      return found?.messageCount ?? 0
    }
    await expect.poll(waiting, { timeout: 10_000, interval: 200 }).toBe(1)
    await broker.signal('SIGKILL')
    await broker.start()
    await again
    // The crash may come between the confirm of the copy and the acknowledgement of the original:
    // then the second delivery comes twice.
    expect([...new Set(attempts)]).toEqual([1, 2])
    await consumption[Symbol.asyncDispose]()
  })

  test('and has a memory alarm answers unavailable at once, keeps taking acknowledgements, and resumes within five seconds', async () => {
    const { promise: alarmed, resolve: alarm } = Promise.withResolvers<void>()
    const ignore = (): void => {}
    const warn = (_fields: object, text: string): void => {
      if (text.includes('alarm')) alarm()
    }
    await using transport = open({
      confirmTimeoutMs: 60_000,
      logger: { debug: ignore, info: ignore, error: ignore, warn },
    })
    const queue = unique()
    await transport.subscribe(queue, [])
    const held = toQueue(queue)
    expect(await publishOne(transport, held)).toEqual({ kind: 'confirmed' })
    await ordersTo(broker).memoryAlarm(true)
    // The broker blocks a connection when it next publishes, and keeps what it has not read.
    const waiting = publishOne(transport, toQueue(queue))
    await alarmed
    const began = performance.now()
    const blocked = await Promise.all(
      transport.publish(Array.from({ length: 100 }, () => toQueue(queue))),
    )
    expect(new Set(blocked.map(({ kind }) => kind))).toEqual(new Set(['unavailable']))
    expect(performance.now() - began).toBeLessThan(1000)
    const { promise: handled, resolve } = Promise.withResolvers<string>()
    const consumption = await transport.consume({ queue, concurrency: 1 }, ({ message }) => {
      resolve(message.id)
      return Promise.resolve({ kind: 'ack' })
    })
    expect(await handled).toBe(held.id)
    await consumption[Symbol.asyncDispose]()
    await ordersTo(broker).memoryAlarm(false)
    const healed = performance.now()
    // Each of them told when it is worth trying again.
    const back = blocked.flatMap((outcome) =>
      outcome.kind === 'unavailable' && outcome.back !== undefined ? [outcome.back] : [],
    )
    expect(back).toHaveLength(blocked.length)
    await Promise.all(back)
    expect((await publishOne(transport, toQueue(queue))).kind).toBe('confirmed')
    expect(performance.now() - healed).toBeLessThan(5000)
    expect(await waiting).toEqual({ kind: 'confirmed' })
  })

  test('and stops answering is noticed by the heartbeat; what was on the way is unknown, and publishing resumes', async () => {
    await using transport = open({
      heartbeatSeconds: 1,
      confirmTimeoutMs: 60_000,
      connectTimeoutMs: 2000,
    })
    const queue = unique()
    await transport.subscribe(queue, [])
    const { promise: lost, resolve } = Promise.withResolvers<void>()
    const { promise: taken, resolve: took } = Promise.withResolvers<void>()
    await publishOne(transport, toQueue(queue))
    await using _consumption = await transport.consume(
      { queue, concurrency: 1 },
      async ({ signal, attempt }) => {
        if (attempt > 1) return { kind: 'ack' }
        signal.addEventListener('abort', () => resolve(), { once: true })
        took()
        await lost
        return { kind: 'ack' }
      },
    )
    await taken
    await broker.signal('SIGSTOP')
    const stopped = performance.now()
    const outcome = await publishOne(transport, toQueue(queue))
    expect(outcome).toMatchObject({ kind: 'unknown', error: { code: 'MERSAL_UNKNOWN_OUTCOME' } })
    await lost
    // Three heartbeats, and a margin for a busy machine.
    expect(performance.now() - stopped).toBeLessThan(3000 + 2000)
    await broker.signal('SIGCONT')
    const healed = performance.now()
    await publishUntilConfirmed(transport, toQueue(queue))
    expect(performance.now() - healed).toBeLessThan(5000)
  })

  test('whose size limit is below ours: the large message is refused for good, and those around it are not', async () => {
    await using transport = open()
    const queue = unique()
    await transport.subscribe(queue, [])
    const large = toQueue(queue, { body: new Uint8Array(BROKER_LIMIT + 1) })
    const before = await publishOne(transport, toQueue(queue))
    const batch = [
      large,
      toQueue(queue),
      toQueue(queue, { body: new Uint8Array(BROKER_LIMIT) }),
      large,
      toQueue(queue),
    ]
    const outcomes = await Promise.all(transport.publish(batch))
    expect(before.kind).toBe('confirmed')
    expect(outcomes.map(({ kind }) => kind)).toEqual([
      'refused',
      'confirmed',
      'confirmed',
      'refused',
      'confirmed',
    ])
    expect(outcomes[0]).toMatchObject({
      reason: 'too-large',
      permanent: true,
      error: { code: 'MERSAL_TOO_LARGE' },
    })
    await using plain = await plainClient(broker.url)
    expect((await plain.drain(queue)).length).toBe(4)
  })
})
