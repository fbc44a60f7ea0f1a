import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { PublishOutcome, Transport } from '../../../src/core/transport.ts'
import { Mersal, command } from '../../../src/index.ts'
import { memoryStore } from '../../../src/memory.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { openProxy, type Proxy } from '../../chaos/proxy.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { publishUntilConfirmed, toQueue } from '../../rabbitmq/messages.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const KB = 1024
const unique = (): string => `q-${randomUUID()}`

/**
 * Far shorter than what the whole takes on the link, and shorter than what is on the way at one
 * time: else the time would run while messages wait for their turn. Long enough for a broker on a
 * busy machine to answer what it has read.
 */
const CONFIRM_MS = 1500
/** For what must not depend on when the broker answers. */
const PATIENT = { confirmTimeoutMs: 60_000 } as const

interface Link extends AsyncDisposable {
  readonly proxy: Proxy
  readonly transport: RabbitTransport
  readonly queue: string
}

async function openLink(options: RabbitOptions = {}): Promise<Link> {
  const proxy = await openProxy(5672)
  const url = place.url.replace(':5672/', `:${proxy.port}/`)
  const transport = rabbitmq({
    url,
    logger: false,
    queueType: 'classic',
    confirmTimeoutMs: CONFIRM_MS,
    ...options,
  })
  const queue = unique()
  await transport.subscribe(queue, [])
  return {
    proxy,
    transport,
    queue,
    async [Symbol.asyncDispose]() {
      proxy.weather({ kind: 'fair' })
      await transport[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

const large = (queue: string, count: number, bytes: number): OutgoingMessage[] =>
  Array.from({ length: count }, () => toQueue(queue, { body: Buffer.alloc(bytes, 7) }))

async function kinds(
  answers: readonly Promise<PublishOutcome>[],
): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {}
  for (const answer of answers) {
    const outcome = await answer
    const kind =
      outcome.kind === 'unavailable' && outcome.withdrawn === true ? 'withdrawn' : outcome.kind
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

async function idsIn(queue: string): Promise<readonly string[]> {
  await using plain = await plainClient(place.url)
  return (await plain.drain(queue)).map(({ properties }) => properties.messageId as string)
}

/** Waits until the broker holds nothing back any more of what has been sent to it. */
async function settled(transport: Transport, queue: string): Promise<void> {
  expect(await Promise.all(transport.publish([toQueue(queue)]))).toEqual([{ kind: 'confirmed' }])
}

describe.skipIf(!here)('a slow link to RabbitMQ', { timeout: 240_000 }, () => {
  test('the time for a confirm begins when the broker has read the message, so that nothing is taken for unanswered that only waits', async () => {
    await using link = await openLink()
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 2_000_000 })
    const answers = link.transport.publish(large(link.queue, 80, 100 * KB))
    expect(await kinds(answers)).toEqual({ confirmed: 80 })
    expect(await idsIn(link.queue)).toHaveLength(80)
  })

  test('one message that takes longer on the link than the time for a confirm is confirmed', async () => {
    await using link = await openLink()
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 2_500_000 })
    expect(await kinds(link.transport.publish(large(link.queue, 1, 10_000 * KB)))).toEqual({
      confirmed: 1,
    })
  })

  test('small messages that come together are not taken for unanswered either', async () => {
    await using link = await openLink()
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 1_300_000 })
    expect(await kinds(link.transport.publish(large(link.queue, 5000, KB)))).toEqual({
      confirmed: 5000,
    })
    expect(await idsIn(link.queue)).toHaveLength(5000)
  })

  test('a broker that reads nothing for longer than that, and then goes on, has got each message once', async () => {
    await using link = await openLink({ heartbeatSeconds: 60 })
    await settled(link.transport, link.queue)
    link.proxy.weather({ kind: 'server does not read' })
    const answers = link.transport.publish(large(link.queue, 100, 100 * KB))
    await new Promise((resolve) => setTimeout(resolve, 2 * CONFIRM_MS))
    link.proxy.weather({ kind: 'fair' })
    expect(await kinds(answers)).toEqual({ confirmed: 100 })
    expect(await idsIn(link.queue)).toHaveLength(101)
  })

  test('a broker that reads nothing any more is not waited for without end', async () => {
    await using link = await openLink({ heartbeatSeconds: 60, confirmTimeoutMs: 100 })
    await publishUntilConfirmed(link.transport, toQueue(link.queue))
    link.proxy.weather({ kind: 'server does not read' })
    expect(await kinds(link.transport.publish(large(link.queue, 3, KB)))).toEqual({ unknown: 3 })
  })

  test('what is taken back before its turn is never sent, and what was sent is not taken back', async () => {
    await using link = await openLink(PATIENT)
    await settled(link.transport, link.queue)
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 5_000_000 })
    const withdrawal = new AbortController()
    const messages = large(link.queue, 200, 100 * KB)
    const answers = link.transport.publish(messages, { withdraw: withdrawal.signal })
    await answers[0]
    withdrawal.abort()
    const { confirmed = 0, withdrawn = 0, ...others } = await kinds(answers)
    expect([confirmed + withdrawn, others]).toEqual([200, {}])
    expect(confirmed, 'as many as fit onto the way').toBeLessThan(60)
    expect((await idsIn(link.queue)).slice(1)).toEqual(
      messages.slice(0, confirmed).map(({ id }) => id),
    )
  })

  test('when the waiting is given up, only what was sent is unknown', async () => {
    await using link = await openLink(PATIENT)
    await settled(link.transport, link.queue)
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 5_000_000 })
    const over = new AbortController()
    const messages = large(link.queue, 200, 100 * KB)
    const answers = link.transport.publish(messages, { signal: over.signal })
    await answers[0]
    over.abort()
    const { withdrawn = 0 } = await kinds(answers)
    expect(withdrawn).toBeGreaterThan(140)
    link.proxy.weather({ kind: 'fair' })
    await settled(link.transport, link.queue)
    expect(new Set(await idsIn(link.queue)).size, 'no other one was sent later').toBe(
      200 - withdrawn + 2,
    )
  })

  test('a connection that is lost leaves unknown no more than was on the way', async () => {
    await using link = await openLink(PATIENT)
    await settled(link.transport, link.queue)
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 5_000_000 })
    const answers = link.transport.publish(large(link.queue, 200, 100 * KB))
    await answers[0]
    link.proxy.reset()
    const { unknown = 0, unavailable = 0, confirmed = 0 } = await kinds(answers)
    expect([unknown <= 50, unavailable >= 100, unknown + unavailable + confirmed]).toEqual([
      true,
      true,
      200,
    ])
  })

  test('a message that a consumer gives back for later is copied once, however long that takes', async () => {
    await using link = await openLink()
    const messages = large(link.queue, 20, 300 * KB)
    expect(await kinds(link.transport.publish(messages))).toEqual({ confirmed: 20 })
    link.proxy.weather({ kind: 'thin', bytesPerSecond: 1_500_000 })
    const seen = new Map<string, number>()
    const all = Promise.withResolvers<void>()
    const consumer = await link.transport.consume(
      { queue: link.queue, concurrency: 20 },
      async ({ message, attempt }) => {
        if (attempt === 1) return { kind: 'retry', delayMs: 0, error: new Error('not yet') }
        seen.set(message.id, (seen.get(message.id) ?? 0) + 1)
        if (seen.size === messages.length) all.resolve()
        return { kind: 'ack' }
      },
    )
    await all.promise
    link.proxy.weather({ kind: 'fair' })
    await consumer[Symbol.asyncDispose]()
    expect([...seen.values()]).toEqual(Array.from({ length: 20 }, () => 1))
    expect(await idsIn(link.queue)).toEqual([])
  })

  test.each([['with', true] as const, ['without', false] as const])(
    'a relay %s the express lane publishes each message once, although they take far longer than their claims hold',
    async (_, express) => {
      await using link = await openLink()
      const Big = command<string>('big')
      await using app = new Mersal({
        name: unique(),
        store: memoryStore(),
        transport: link.transport,
        routes: { big: link.queue },
        logger: silentLogger,
        outbox: { relay: { claimMs: 1200, expressGraceMs: 1200, express } },
      })
      await app.start()
      link.proxy.weather({ kind: 'thin', bytesPerSecond: 3_000_000 })
      await app.transaction(async (__, { send }) => {
        for (let index = 0; index < 60; index++) await send(Big, 'x'.repeat(300 * KB))
      })
      await app.drain()
      link.proxy.weather({ kind: 'fair' })
      expect(await idsIn(link.queue)).toHaveLength(60)
    },
  )
})
