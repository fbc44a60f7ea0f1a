import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, ChannelModel } from 'amqplib'
import { connect } from 'amqplib'
import { describe, expect, test } from 'vitest'
import type { Logger } from '../../../../src/core/telemetry.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../../src/rabbitmq.ts'
import type { Reader } from '../../../../src/transports/rabbitmq/order/channel.ts'
import { Holdings } from '../../../../src/transports/rabbitmq/order/holdings.ts'
import { closeQuietly } from '../../../../src/transports/rabbitmq/connection/client.ts'
import { takeLock } from '../../../../src/transports/rabbitmq/order/lock.ts'
import { join } from '../../../../src/transports/rabbitmq/order/membership.ts'
import { rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../../rabbitmq/messages.ts'
import { cut, plainClient } from '../../../rabbitmq/plain-client.ts'
import { withVhost } from '../../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const settings = { connectTimeoutMs: 2000, logger: silent }
const ack = async () => ({ kind: 'ack' }) as const

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, partitions: 1, ...options })
}

async function connected(): Promise<ChannelModel & AsyncDisposable> {
  const model = await connect(place.url, { noDelay: true })
  model.on('error', () => {})
  return Object.assign(model, { [Symbol.asyncDispose]: () => model.close() })
}

interface FakeReader extends Reader {
  readonly lose: () => void
  readonly stops: PromiseWithResolvers<void>
  held: number
}

function reader(): FakeReader {
  const lost = new AbortController()
  const stops = Promise.withResolvers<void>()
  return {
    lost: lost.signal,
    cancelled: false,
    lose: () => lost.abort(),
    stops,
    held: 0,
    heldMs() {
      return this.held
    },
    stop: () => stops.promise,
  }
}

/** A lock that one process holds, and how another one gets it. */
async function held() {
  const [mine, other] = [await connected(), await connected()]
  const lock = `lock-${randomUUID()}`
  const holdings = new Holdings(settings)
  const fake = reader()
  const free = async () => true
  return {
    lock,
    holdings,
    fake,
    mine,
    read: async () => {
      expect(await holdings.lock(mine, lock, free)).toBe(true)
      expect(await holdings.read(mine, lock, async () => fake)).toBeUndefined()
    },
    otherGets: () => takeLock(other, lock, settings.connectTimeoutMs),
    [Symbol.asyncDispose]: async () => {
      await mine.close()
      await other.close()
    },
  }
}

describe.skipIf(!here)('locks of queues that are read in order', () => {
  test.each([
    ['reads no more', (fake: FakeReader) => fake.lose()],
    ['has held a message for long', (fake: FakeReader) => void (fake.held = 1000)],
  ])('are released when their reader %s, after its handlers have ended', async (_, spend) => {
    await using one = await held()
    await one.read()
    one.holdings.leaveSpent(1000)
    expect(one.holdings.staying()).toEqual([one.lock])
    spend(one.fake)
    one.holdings.leaveSpent(1000)
    expect([one.holdings.staying(), one.holdings.has(one.lock)]).toEqual([[], true])
    expect(await one.otherGets()).toBe(false)
    one.fake.stops.resolve()
    await one.holdings.leave(one.lock)
    expect(one.holdings.has(one.lock)).toBe(false)
    expect(await one.otherGets()).toBe(true)
  })

  test('are released when nothing can be read under them, or nothing may be', async () => {
    await using one = await held()
    const { holdings, mine, lock } = one
    expect(await holdings.lock(mine, lock, async () => false)).toBe(false)
    const asking = holdings.lock(mine, lock, () => Promise.reject(new Error('no answer')))
    await expect(asking).rejects.toThrow('no answer')
    expect(await holdings.lock(mine, lock, async () => true)).toBe(true)
    const opened = holdings.read(mine, lock, () => Promise.reject(new Error('no queue')))
    expect(await opened).toMatchObject({ message: 'no queue' })
    expect(holdings.has(lock)).toBe(false)
    expect(await one.otherGets()).toBe(true)
  })

  test('are not waited for when their connection is lost while a channel closes', {
    timeout: 20_000,
  }, async () => {
    const model = await connected()
    const channel = await model.createChannel()
    const closing = closeQuietly(channel)
    cut(model)
    await closing
  })

  test('of somebody else stay his', async () => {
    await using one = await held()
    expect(await one.otherGets()).toBe(true)
    expect(await one.holdings.lock(one.mine, one.lock, async () => true)).toBe(false)
    await using third = await connected()
    expect(await takeLock(third, one.lock, settings.connectTimeoutMs)).toBe(false)
  })

  test.each([
    ['the queue', ''],
    ['its partition', '.partition.0'],
  ])(
    'go with the consumer although %s cannot be read, while its transport lives on',
    { timeout: 30_000 },
    async (_, suffix) => {
      const queue = `q-${randomUUID()}`
      const warnings: string[] = []
      const logger: Logger = { ...silent, warn: (__, text) => warnings.push(text) }
      const errors: Logger = { ...logger, error: (__, text) => warnings.push(text) }
      await using first = open({ logger: errors })
      await first.subscribe(queue, [])
      const consumer = await first.consume({ queue, concurrency: 1, orderPerKey: true }, ack)
      await using plain = await plainClient(place.url)
      await plain.channel.deleteQueue(`${queue}${suffix}`)
      // It belongs to somebody else now: nobody can read it, or make it again.
      await plain.channel.assertQueue(`${queue}${suffix}`, { exclusive: true })
      await expect
        .poll(() => warnings, { timeout: 15_000 })
        .toContain('a queue cannot be read in order yet')
      await consumer[Symbol.asyncDispose]()
      await plain.channel.deleteQueue(`${queue}${suffix}`)
      expect((await place.queues()).filter((name) => name.endsWith('.lock'))).toEqual([])
      await using second = open()
      await second.subscribe(queue, [])
      const seen: string[] = []
      await second.consume({ queue, concurrency: 1, orderPerKey: true }, async ({ message }) => {
        seen.push(message.id)
        return { kind: 'ack' }
      })
      const message = toQueue(queue)
      await publishOne(second, message)
      await expect.poll(() => seen, { timeout: 10_000 }).toEqual([message.id])
    },
  )
})

test('what is lost is looked for at once, unless its queue was deleted', async () => {
  const lost: string[] = []
  const holdings = new Holdings(settings, (lock) => lost.push(lock))
  const model = {} as unknown as ChannelModel
  for (const cancelled of [false, true]) {
    const fake = { ...reader(), cancelled }
    await holdings.read(model, cancelled ? 'deleted' : 'cut', async () => fake)
    fake.lose()
  }
  expect(lost).toEqual(['cut'])
})

test('a process that gets no answer when it joins is no member, so that no share waits for it', async () => {
  let closed = 0
  const channel = {
    on() {},
    consume: () => new Promise(() => {}),
    close: async () => void closed++,
  } as unknown as Channel
  const model = { createChannel: async () => channel } as unknown as ChannelModel
  await expect(join(model, 'members', 20)).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
  await sleep(1)
  expect(closed).toBe(1)
})
