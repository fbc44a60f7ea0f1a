import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { nats } from '../../src/nats.ts'
import { openProxy } from '../chaos/proxy.ts'
import { plainClient } from '../nats/plain-client.ts'
import { natsIsHere, openPrivateNats } from '../nats/server.ts'
import { hasty, traffic } from '../nats/traffic.ts'
import { again, missing, until } from './sending.ts'

const here = natsIsHere()
const CONCURRENCY = 20

describe.skipIf(!here)('NATS under faults (P2, P6)', () => {
  test('a server that is killed three times loses nothing, and stores twice only what was unknown', async () => {
    await using server = await openPrivateNats()
    const kills = 3
    const result = await traffic({
      url: server.url,
      messages: 1500,
      concurrency: CONCURRENCY,
      fault: async ({ sent }) => {
        for (let kill = 1; kill <= kills; kill++) {
          const before = sent()
          await until(() => sent() > before + 100)
          await server.signal('SIGKILL')
          await wait(300)
          await server.start()
        }
      },
    })
    expect(result.refused).toEqual([])
    expect(result.confirmedAt.size).toBe(1500)
    expect(missing(result)).toEqual([])
    expect(result.stored).toBeLessThanOrEqual(1500 + result.unknown)
  }, 60_000)

  test('a server that hangs for longer than its holds loses nothing', async () => {
    await using server = await openPrivateNats()
    const result = await traffic({
      url: server.url,
      messages: 1000,
      concurrency: CONCURRENCY,
      fault: async ({ sent }) => {
        await until(() => sent() > 200)
        await server.signal('SIGSTOP')
        await wait(5000)
        await server.signal('SIGCONT')
      },
    })
    expect(result.refused).toEqual([])
    expect(missing(result)).toEqual([])
    expect(again(result)).toBeLessThanOrEqual(result.unknown + CONCURRENCY)
  }, 60_000)

  test('a link that is cut without a word, and then reset, loses nothing', async () => {
    await using server = await openPrivateNats()
    await using proxy = await openProxy(server.port)
    const result = await traffic({
      url: `nats://127.0.0.1:${proxy.port}`,
      messages: 1000,
      concurrency: CONCURRENCY,
      fault: async ({ sent }) => {
        await until(() => sent() > 200)
        proxy.weather({ kind: 'black hole' })
        await wait(5000)
        proxy.reset()
        proxy.weather({ kind: 'fair' })
      },
    })
    expect(result.refused).toEqual([])
    expect(missing(result)).toEqual([])
    expect(again(result)).toBeLessThanOrEqual(result.unknown + CONCURRENCY)
  }, 60_000)

  test('connections that are reset while the server goes on cost no hold: each message is handled as often as it was stored', async () => {
    await using server = await openPrivateNats()
    await using proxy = await openProxy(server.port)
    const result = await traffic({
      url: `nats://127.0.0.1:${proxy.port}`,
      // Longer than a new connection takes.
      options: { ackWaitMs: 10_000 },
      messages: 1000,
      concurrency: CONCURRENCY,
      fault: async ({ sent }) => {
        await until(() => sent() > 200)
        proxy.reset()
      },
    })
    expect(result.lost).toBe(0)
    expect(missing(result)).toEqual([])
    expect(again(result)).toBeLessThanOrEqual(result.unknown)
  }, 60_000)

  test('a stream that somebody deletes is made again, and both sides go on', async () => {
    await using server = await openPrivateNats()
    await using plain = await plainClient(server.url)
    const result = await traffic({
      url: server.url,
      messages: 600,
      fault: async ({ sent, queue }) => {
        await until(() => sent() > 150)
        await plain.manager.streams.delete(`mersal-queue-${queue.replaceAll('.', '~')}`)
        await plain.manager.streams.delete('mersal-topics')
        await plain.manager.streams.delete('mersal-state')
        await wait(500)
      },
    })
    // What was in the stream went with it.
    expect(missing(result).length).toBeLessThan(200)
    expect(result.handled.size).toBeGreaterThan(400)
    expect(result.confirmedAt.size).toBe(600)
  }, 60_000)
})

describe.skipIf(!here)('a NATS queue', () => {
  test('that is full takes no message, drops none, and goes on when there is room (P2)', async () => {
    await using server = await openPrivateNats()
    await using transport = nats({ url: server.url, ...hasty, maxQueueBytes: 20_000 })
    const queue = 'small'
    await transport.subscribe(queue, [])
    const messages = Array.from({ length: 50 }, (_, index) => ({
      id: `full ${index}`,
      type: 'full',
      headers: {},
      body: Buffer.alloc(1000, index),
      to: { transport: 'default', kind: 'queue', name: queue } as const,
    }))
    const first = await Promise.all(transport.publish(messages))
    const kinds = first.map(({ kind }) => kind)
    expect(new Set(kinds)).toEqual(new Set(['confirmed', 'unavailable']))
    const stored = kinds.filter((kind) => kind === 'confirmed').length
    const arrived = new Set<string>()
    await using _consumption = await transport.consume({ queue, concurrency: 5 }, ({ message }) => {
      arrived.add(message.id)
      return Promise.resolve({ kind: 'ack' })
    })
    await until(() => arrived.size === stored)
    const rest = messages.filter((_, index) => kinds[index] !== 'confirmed')
    for (const message of rest) {
      let outcome = await transport.publish([message])[0]
      while (outcome?.kind === 'unavailable') outcome = await transport.publish([message])[0]
      expect(outcome?.kind).toBe('confirmed')
    }
    await until(() => arrived.size === messages.length)
  })

  test('whose handler is slower than the hold keeps the hold (P6)', async () => {
    await using server = await openPrivateNats()
    await using transport = nats({ url: server.url, ...hasty, ackWaitMs: 500 })
    await using other = nats({ url: server.url, ...hasty, ackWaitMs: 500 })
    const queue = 'slow'
    await transport.subscribe(queue, [])
    const attempts: number[] = []
    const done = Promise.withResolvers<void>()
    const handle = async ({ attempt, signal }: { attempt: number; signal: AbortSignal }) => {
      attempts.push(attempt)
      await wait(2500)
      expect(signal.aborted).toBe(false)
      done.resolve()
      return { kind: 'ack' } as const
    }
    await using _one = await transport.consume({ queue, concurrency: 1 }, handle)
    await using _two = await other.consume({ queue, concurrency: 1 }, handle)
    const to = { transport: 'default', kind: 'queue', name: queue } as const
    const message = { id: 'slow', type: 'slow', headers: {}, body: Buffer.from('{}'), to }
    expect(await Promise.all(transport.publish([message]))).toEqual([{ kind: 'confirmed' }])
    await done.promise
    await wait(1000)
    expect(attempts).toEqual([1])
  })

  test('whose server hangs for longer than the hold charges that to nobody (P8)', async () => {
    await using server = await openPrivateNats()
    await using transport = nats({ url: server.url, ...hasty, ackWaitMs: 1000 })
    const queue = 'hanging'
    await transport.subscribe(queue, [])
    const attempts: number[] = []
    const lost = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    const consumption = { queue, concurrency: 1 }
    await using _consumption = await transport.consume(consumption, async (delivery) => {
      attempts.push(delivery.attempt)
      const { length } = attempts
      if (length === 1) {
        await server.signal('SIGSTOP')
        delivery.signal.addEventListener('abort', () => lost.resolve())
        await lost.promise
        await server.signal('SIGCONT')
      }
      if (length === 2) return { kind: 'retry', delayMs: 10, error: new Error('a failure') }
      if (length === 3) done.resolve()
      return { kind: 'ack' }
    })
    const to = { transport: 'default', kind: 'queue', name: queue } as const
    const message = { id: 'hanging', type: 'hanging', headers: {}, body: Buffer.from('{}'), to }
    expect(await transport.publish([message])[0]).toEqual({ kind: 'confirmed' })
    await done.promise
    expect(attempts).toEqual([1, 1, 2])
  })

  test('that is not empty, or has dead letters, is not removed; else it goes with its subscriptions', async () => {
    await using server = await openPrivateNats()
    await using transport = nats({ url: server.url, ...hasty })
    await transport.subscribe('leaving', ['left'])
    const to = { transport: 'default', kind: 'topic', name: 'left' } as const
    const event = { id: 'e', type: 'left', headers: {}, body: Buffer.from('{}'), to }
    await Promise.all(transport.publish([event]))
    expect(await transport.removeQueue('leaving')).toMatchObject({ kind: 'kept' })
    const rejected = Promise.withResolvers<void>()
    {
      await using _consumption = await transport.consume(
        { queue: 'leaving', concurrency: 1 },
        () => {
          rejected.resolve()
          return Promise.resolve({ kind: 'reject', reason: 'rejected', error: new Error('no') })
        },
      )
      await rejected.promise
    }
    expect(await transport.removeQueue('leaving')).toMatchObject({ kind: 'kept' })
    const box = transport.deadLettersOf('leaving')
    await box.discard((await box.list()).map(({ key }) => key))
    expect(await transport.removeQueue('leaving')).toEqual({ kind: 'removed' })
    expect(await transport.removeQueue('leaving')).toEqual({ kind: 'removed' })
    const [outcome] = await Promise.all(transport.publish([{ ...event, id: 'f' }]))
    expect(outcome).toMatchObject({ kind: 'refused', reason: 'unroutable' })
  })
})

describe.skipIf(!here)('a consumer of NATS that stops', () => {
  test.each(['SIGKILL', 'SIGSTOP'] as const)(
    'ends within seconds, also when its server is gone (%s, P11)',
    async (signal) => {
      await using server = await openPrivateNats()
      const transport = nats({ url: server.url, ackWaitMs: 60_000, logger: false })
      const queue = 'ending'
      await transport.subscribe(queue, [])
      const consumption = { queue, concurrency: 5 }
      const consumer = await transport.consume(consumption, () => Promise.resolve({ kind: 'ack' }))
      await server.signal(signal)
      await wait(500)
      const began = performance.now()
      await consumer[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
      expect(performance.now() - began).toBeLessThan(6000)
      if (signal === 'SIGSTOP') await server.signal('SIGCONT')
    },
  )
})
