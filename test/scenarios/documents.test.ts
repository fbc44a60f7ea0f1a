import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Transport } from '../../src/core/transport.ts'
import { type Documents, type DocumentsOptions, document, documents } from '../../src/documents.ts'
import { command, event } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { redis, redisDocuments } from '../../src/redis.ts'
import { redisCli } from '../redis/plain-client.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'

const here = redisIsHere()
let shared: PrivateRedis

beforeAll(async () => {
  if (here) shared = await openPrivateRedis()
})
afterAll(async () => {
  if (here) await shared[Symbol.asyncDispose]()
})

interface Counter {
  readonly count: number
}
const Counter = document<Counter>('counters')
const Counted = event<{ count: number }>('counters.counted')
const Report = command<{ count: number }>('counters.report')

interface Place extends AsyncDisposable {
  readonly documents: Documents
  readonly transport: Transport
  readonly prefix: string
  readonly url: string
  /** Numbers of the events as they arrived. */
  readonly arrived: number[]
}

async function place(
  options: Partial<DocumentsOptions> = {},
  { url = shared.url, on = 'memory' }: { url?: string; on?: 'memory' | 'redis' } = {},
): Promise<Place> {
  const prefix = `d${randomUUID().slice(0, 8)}`
  const client = createClient({ url })
  client.on('error', () => {}) // it connects again by itself
  await client.connect()
  const transport =
    options.transport ??
    (on === 'memory'
      ? memoryTransport()
      : redis({ url, prefix, confirm: 'written', logger: false }))
  await transport.subscribe('reader', [Counted.name])
  const arrived: number[] = []
  const consumption = await transport.consume(
    { queue: 'reader', concurrency: 1 },
    ({ message }) => {
      const { count } = JSON.parse(Buffer.from(message.body).toString()) as Counter
      arrived.push(count)
      return Promise.resolve({ kind: 'ack' })
    },
  )
  const storage = redisDocuments({ client, prefix })
  const made = documents({ name: 'counting', storage, transport, logger: false, ...options })
  return {
    documents: made,
    transport,
    prefix,
    url,
    arrived,
    async [Symbol.asyncDispose]() {
      await made[Symbol.asyncDispose]()
      await consumption[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
      client.destroy()
    },
  }
}

const countUp = ({ documents: made }: Place, id = 'one', options = {}) =>
  made.update(
    Counter,
    id,
    (state, { publish }) => {
      const count = (state?.count ?? 0) + 1
      publish(Counted, { count })
      return { count }
    },
    options,
  )

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await wait(5)
}

describe.skipIf(!here)('documents', () => {
  test.each(['memory', 'redis'] as const)(
    'thirty changes at the same time all count, and their events arrive once and in order (%s)',
    async (on) => {
      await using one = await place({}, { on })
      one.documents.start()
      await Promise.all(upTo(30).map(() => countUp(one, 'one', { tries: 1000 })))
      expect(await one.documents.load(Counter, 'one')).toEqual({ count: 30 })
      await until(() => one.arrived.length >= 30)
      expect(one.arrived).toEqual(upTo(30))
      await one.documents.stop()
      expect(await redisCli(one.url, 'ZCARD', `{${one.prefix}}:due`)).toBe(0)
    },
  )

  test('a message that is delivered twice has its effect once', async () => {
    await using one = await place()
    const handling = { id: randomUUID(), type: 't', headers: {}, body: new Uint8Array() }
    const first = await countUp(one, 'one', { handling })
    const second = await countUp(one, 'one', { handling })
    expect([first, second]).toEqual([
      { kind: 'saved', state: { count: 1 }, version: 1 },
      { kind: 'handled', state: { count: 1 }, version: 1 },
    ])
    await one.documents.drain()
    await until(() => one.arrived.length >= 1)
    expect(one.arrived).toEqual([1])
  })

  test('a change that throws, or whose body is wrong, stores nothing', async () => {
    await using one = await place()
    const failing = one.documents.update(Counter, 'one', (_, { publish }) => {
      publish(Counted, { count: 1 })
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const unrouted = one.documents.update(Counter, 'one', (_, { send }) => {
      send(Report, { count: 1 })
      return { count: 1 }
    })
    await expect(unrouted).rejects.toMatchObject({ code: 'MERSAL_NO_ROUTE' })
    expect(await one.documents.load(Counter, 'one')).toBeUndefined()
    expect(await redisCli(one.url, 'KEYS', `{${one.prefix}}:doc*`)).toEqual([])
  })

  test('a sender that is used after its change fails loudly', async () => {
    await using one = await place()
    let late = (): void => {}
    await one.documents.update(Counter, 'one', (_, { publish }) => {
      late = () => publish(Counted, { count: 1 })
      return { count: 1 }
    })
    expect(() => late()).toThrow(/the change has ended/)
  })

  test('others that are always faster end in an error that names it', async () => {
    await using one = await place()
    const losing = one.documents.update(
      Counter,
      'one',
      async () => {
        await countUp(one)
        return { count: 0 }
      },
      { tries: 3 },
    )
    await expect(losing).rejects.toMatchObject({ code: 'MERSAL_STORE_CONFLICT' })
    expect(await one.documents.load(Counter, 'one')).toEqual({ count: 3 })
  })

  test('a message that nobody takes becomes a dead letter after its attempts; what follows goes on, other documents are not held up', async () => {
    const retry = { firstMs: 1, longestMs: 2 }
    await using one = await place({
      routes: { [Report.name]: 'nowhere' },
      maxAttempts: 3,
      retry,
      pollIntervalMs: 5,
    })
    one.documents.start()
    await one.documents.update(Counter, 'one', (_, { send, publish }) => {
      send(Report, { count: 7 })
      publish(Counted, { count: 8 })
      return { count: 8 }
    })
    await until(() => one.arrived.includes(8))
    const [letter] = await one.documents.deadLetters.list()
    expect(letter).toMatchObject({
      reason: 'unroutable',
      type: Report.name,
      place: 'default/queue/nowhere',
      attempts: 3,
    })
    await one.transport.subscribe('nowhere', [])
    expect(await one.documents.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    while ((await redisCli(one.url, 'ZCARD', `{${one.prefix}}:due`)) !== 0) await wait(5)
    expect(await one.documents.deadLetters.list()).toEqual([])
  })

  test('a broker that is away burns no attempts and makes no dead letter', async () => {
    const transport = memoryTransport()
    let away = true
    const error = new Error('the broker is away')
    const moody: Transport = Object.assign(Object.create(transport) as Transport, {
      name: 'moody',
      features: transport.features,
      publish: (...given: Parameters<Transport['publish']>) =>
        away
          ? given[0].map(() => Promise.resolve({ kind: 'unavailable', error }))
          : transport.publish(...given),
      subscribe: transport.subscribe.bind(transport),
      consume: transport.consume.bind(transport),
      [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
    })
    await using one = await place({ transport: moody, maxAttempts: 1, pollIntervalMs: 20 })
    one.documents.start()
    await countUp(one)
    await wait(300)
    expect(one.arrived).toEqual([])
    away = false
    await until(() => one.arrived.length > 0)
    expect(await one.documents.deadLetters.list()).toEqual([])
  })

  test('what a relay that has died held is published by another one after the hold', async () => {
    const never: Transport['publish'] = (messages) => messages.map(() => new Promise(() => {}))
    await using one = await place({ pollIntervalMs: 20 })
    await countUp(one)
    const client = await createClient({ url: one.url }).connect()
    const storage = redisDocuments({ client, prefix: one.prefix })
    const dying = documents({
      name: 'dying',
      storage,
      transport: {
        ...one.transport,
        features: one.transport.features,
        publish: never,
      } satisfies Transport,
      holdMs: 1500,
      logger: false,
    })
    const began = performance.now()
    const dies = expect(dying.drain()).rejects.toThrow(/closed/)
    while ((await redisCli(one.url, 'HLEN', `{${one.prefix}}:holds`)) !== 1) await wait(5)
    client.destroy()
    one.documents.start()
    await until(() => one.arrived.length > 0)
    expect(performance.now() - began).toBeGreaterThan(1490)
    expect(one.arrived).toEqual([1])
    await dies
  })
})

describe.skipIf(!here)('documents on a Redis that is killed', () => {
  test('with appendfsync always, every change that was answered is there, and each state with exactly its messages (P1, P2)', async () => {
    await using server = await openPrivateRedis()
    await using one = await place({}, { url: server.url, on: 'redis' })
    const answered = new Map<string, number>()
    const over = new AbortController()
    const writers = ['a', 'b', 'c', 'd'].map(async (id) => {
      while (!over.signal.aborted) {
        try {
          const { state } = await countUp(one, id)
          answered.set(id, state?.count ?? 0)
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(
            /^MERSAL_(?:COMMIT_UNKNOWN|STORE_FAILED)$/,
          )
          await wait(10)
        }
      }
    })
    for (let kill = 0; kill < 3; kill++) {
      await wait(400)
      await server.signal('SIGKILL')
      await server.start()
    }
    await wait(200)
    over.abort()
    await Promise.all(writers)
    let total = 0
    for (const [id, count] of answered) {
      const key = `{${one.prefix}}:doc:counters/${id}`
      const found = (await redisCli(server.url, 'HGETALL', key)) as Record<string, string>
      const stored = (JSON.parse(found['state'] ?? '{}') as Counter).count
      expect(stored).toBeGreaterThanOrEqual(count)
      const bodies = Object.entries(found)
        .filter(([name]) => name.startsWith('m:'))
        .map(([, packed]) => (JSON.parse(packed.split('\n')[1] ?? '') as Counter).count)
      expect(bodies.toSorted((left, right) => left - right)).toEqual(upTo(stored))
      total += stored
    }
    expect(answered.size).toBe(4)
    await one.documents.drain()
    while (one.arrived.length < total) {
      await one.documents.drain()
      await wait(50)
    }
    expect(new Set(one.arrived).size).toBe(Math.max(...one.arrived))
  })
})
