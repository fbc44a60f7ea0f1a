import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../src/core/transport.ts'
import { redis, type RedisOptions, type RedisTransport } from '../../src/redis.ts'
import { hasWaitAof, redisCli, streamOf } from '../redis/plain-client.ts'
import { transportRights } from '../redis/rights.ts'
import { openPrivateRedis, redisIsHere } from '../redis/server.ts'
import { hasty, numbered, traffic } from '../redis/traffic.ts'

const here = redisIsHere()

const one = (): OutgoingMessage => numbered(2, 'q', 't')[1] as OutgoingMessage

async function publishOne(transport: RedisTransport, message = one()): Promise<PublishOutcome> {
  return (await transport.publish([message])[0]) as PublishOutcome
}

const textOf = (outcome: PublishOutcome): string =>
  outcome.kind === 'confirmed' ? 'confirmed' : `${outcome.kind}: ${outcome.error.message}`

describe.skipIf(!here)('Redis traffic goes through', () => {
  test('two kills of the server', async () => {
    await using server = await openPrivateRedis()
    const result = await traffic({
      url: server.url,
      messages: 400,
      fault: async ({ sent }) => {
        for (const goal of [50, 120]) {
          while (sent() < goal) await wait(5)
          await server.signal('SIGKILL')
          await wait(500)
          await server.start()
        }
      },
    })
    expect([result.missing, result.refused]).toEqual([[], []])
  })

  test('a server that stands still for longer than every time limit', async () => {
    await using server = await openPrivateRedis()
    const result = await traffic({
      url: server.url,
      messages: 400,
      fault: async ({ sent }) => {
        while (sent() < 50) await wait(5)
        await server.signal('SIGSTOP')
        await wait(4000)
        await server.signal('SIGCONT')
      },
    })
    expect([result.missing, result.refused]).toEqual([[], []])
  })

  test('connections that are cut again and again', async () => {
    await using server = await openPrivateRedis()
    const result = await traffic({
      url: server.url,
      messages: 400,
      fault: async ({ sent }) => {
        for (const goal of [30, 80, 130, 180]) {
          while (sent() < goal) await wait(5)
          await redisCli(server.url, 'CLIENT', 'KILL', 'TYPE', 'normal')
          await redisCli(server.url, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
        }
      },
    })
    expect([result.missing, result.refused]).toEqual([[], []])
  })
})

describe.skipIf(!here)('what is wrong with a Redis is charged to no message', () => {
  async function withServer(
    config: readonly string[],
    work: (transport: RedisTransport, url: string) => Promise<void>,
    options: RedisOptions = {},
  ): Promise<void> {
    await using server = await openPrivateRedis({ config })
    await using transport = redis({ url: server.url, ...hasty, ...options })
    await transport.subscribe('q', ['t'])
    await work(transport, server.url)
  }

  test('a full memory: nothing is taken in, consumers drain, and then it goes on', () =>
    withServer([], async (transport, url) => {
      for (let count = 0; count < 20; count++) await publishOne(transport)
      await redisCli(url, 'CONFIG', 'SET', 'maxmemory', '1mb')
      expect(textOf(await publishOne(transport))).toMatch(/^unavailable: .*maxmemory/)
      let handled = 0
      {
        await using _consumption = await transport.consume(
          { queue: 'q', concurrency: 5 },
          ({ attempt }) => {
            handled++
            const error = new Error('no')
            if (attempt === 1 && handled % 2 === 0)
              return Promise.resolve({ kind: 'retry', delayMs: 0, error })
            return Promise.resolve(
              handled % 5 === 0 ? { kind: 'reject', reason: 'rejected', error } : { kind: 'ack' },
            )
          },
        )
        while ((await streamOf(url, '{mersal}:queue:q')).length > 0) await wait(20)
      }
      expect(handled).toBeGreaterThanOrEqual(20)
      expect((await transport.deadLetters.list()).length).toBeGreaterThan(0)
      await redisCli(url, 'CONFIG', 'SET', 'maxmemory', '0')
      expect(textOf(await publishOne(transport))).toBe('confirmed')
    }))

  test('a server that becomes a replica, until it is a master again', () =>
    withServer([], async (transport, url) => {
      await redisCli(url, 'REPLICAOF', '127.0.0.1', '1')
      expect(textOf(await publishOne(transport))).toMatch(/^unavailable: .*replica/)
      expect(textOf(await publishOne(transport))).toMatch(/^unavailable: /)
      await redisCli(url, 'REPLICAOF', 'NO', 'ONE')
      let outcome = await publishOne(transport)
      while (outcome.kind === 'unavailable') {
        await Promise.race([outcome.back, wait(200)])
        outcome = await publishOne(transport)
      }
      expect(outcome.kind).toBe('confirmed')
    }))

  test('too few replicas, by the rule of the server', () =>
    withServer(['min-replicas-to-write 0'], async (transport, url) => {
      await redisCli(url, 'CONFIG', 'SET', 'min-replicas-to-write', '1')
      expect(textOf(await publishOne(transport))).toMatch(/^unavailable: .*replicas/)
      expect(await streamOf(url, '{mersal}:queue:q')).toEqual([])
    }))

  test('too few replicas, by our rule: it is stored, so the outcome is unknown; until they are back nothing more is', () =>
    withServer(
      [],
      async (transport, url) => {
        expect(textOf(await publishOne(transport))).toMatch(/^unknown: .*only 0 replicas have it/)
        for (let again = 0; again < 5; again++)
          expect(textOf(await publishOne(transport))).toMatch(/^unavailable: .*only 0 replicas/)
        expect((await streamOf(url, '{mersal}:queue:q')).length).toBe(1)
        const { port } = new URL(url)
        await using replica = await openPrivateRedis({ config: [`replicaof 127.0.0.1 ${port}`] })
        while (((await redisCli(replica.url, 'ROLE')) as unknown[])[3] !== 'connected')
          await wait(50)
        const message = one()
        // Its first answer to WAIT may need a moment.
        let outcome = await publishOne(transport, message)
        while (outcome.kind === 'unavailable') outcome = await publishOne(transport, message)
        expect(textOf(outcome)).toBe('confirmed')
        const copies = await streamOf(replica.url, '{mersal}:queue:q')
        expect(copies.map(({ id }) => id)).toContain(message.id)
      },
      { confirm: { replicas: 1 } },
    ))

  test('a foreign key in the place of one queue holds up only that queue', () =>
    withServer([], async (transport, url) => {
      await transport.subscribe('other', [])
      await redisCli(url, 'DEL', '{mersal}:queue:other')
      await redisCli(url, 'SET', '{mersal}:queue:other', 'of somebody else')
      const there = one()
      const bad = { ...one(), partitionKey: 'other', to: { ...there.to, name: 'other' } }
      const outcomes = await Promise.all(transport.publish([bad, there]))
      expect(outcomes.map(textOf)).toEqual([
        expect.stringMatching(/^unavailable: .*WRONGTYPE/),
        'confirmed',
      ])
    }))

  test('a server that stands still: the outcome is unknown, and the message is there all the same', async () => {
    await using server = await openPrivateRedis()
    await using transport = redis({ url: server.url, ...hasty })
    await transport.subscribe('q', ['t'])
    const message = one()
    expect(textOf(await publishOne(transport))).toBe('confirmed')
    await server.signal('SIGSTOP')
    expect(textOf(await publishOne(transport, message))).toMatch(/^unknown: /)
    await server.signal('SIGCONT')
    while ((await streamOf(server.url, '{mersal}:queue:q')).length < 2) await wait(20)
    expect((await streamOf(server.url, '{mersal}:queue:q'))[1]?.['id']).toBe(message.id)
  })

  test('data that somebody flushed: the queue is made again with its topics while it is read', () =>
    withServer([], async (transport, url) => {
      const seen: string[] = []
      await using _consumption = await transport.consume(
        { queue: 'q', concurrency: 1 },
        (given) => {
          seen.push(given.message.id)
          return Promise.resolve({ kind: 'ack' })
        },
      )
      await redisCli(url, 'FLUSHALL')
      const event = numbered(1, 'q', 't')[0] as OutgoingMessage
      let outcome = await publishOne(transport, event)
      while (outcome.kind === 'unavailable') {
        await Promise.race([outcome.back, wait(200)])
        outcome = await publishOne(transport, event)
      }
      expect(textOf(outcome)).toBe('confirmed')
      while (seen.length === 0) await wait(20)
      expect(seen).toEqual([event.id])
    }))
})

describe.skipIf(!here)('a mistake is told at the start', () => {
  const start = async (url: string, options: RedisOptions = {}): Promise<string> => {
    await using transport = redis({ url, ...hasty, ...options })
    return await transport.subscribe('q', []).then(
      () => 'it started',
      (error: Error) => `${(error as { code?: string }).code}: ${error.message}`,
    )
  }

  test('a wrong password, which is not shown', async () => {
    await using server = await openPrivateRedis({ password: 'right' })
    const text = await start(`redis://:very-secret@127.0.0.1:${server.port}`)
    expect(text).toMatch(/^MERSAL_INVALID_OPTIONS: redis\.url: Redis refuses/)
    expect(text).not.toContain('very-secret')
  })

  test('a policy that drops keys of ours; one that drops what expires is fine', async () => {
    await using server = await openPrivateRedis({ config: ['maxmemory-policy allkeys-lru'] })
    expect(await start(server.url)).toMatch(
      /^MERSAL_INVALID_OPTIONS: redis\.allowLoss: .*allkeys-lru.*noeviction/,
    )
    expect(await start(server.url, { allowLoss: true })).toBe('it started')
    await redisCli(server.url, 'CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru')
    expect(await start(server.url)).toBe('it started')
  })

  test('synced on a server that keeps nothing, whatever is allowed', async () => {
    await using server = await openPrivateRedis({ fsync: 'off' })
    expect(await start(server.url, { confirm: 'synced', allowLoss: true })).toMatch(
      /redis\.confirm: 'synced' needs appendonly yes/,
    )
  })

  test('synced on a server that can neither', async ({ skip }) => {
    await using server = await openPrivateRedis({ fsync: 'everysec' })
    skip(await hasWaitAof(server.url), 'this server has WAITAOF')
    expect(await start(server.url, { confirm: 'synced' })).toMatch(
      /redis\.confirm: 'synced' needs appendfsync always, or Redis 7\.2/,
    )
  })

  test('the permissions of docs/redis.md are enough, and the page is named without them', async () => {
    await using server = await openPrivateRedis()
    await redisCli(
      server.url,
      'ACL',
      'SETUSER',
      'none',
      'on',
      '>secret',
      '~*',
      '&*',
      '+@connection',
    )
    const none = await start(`redis://none:secret@127.0.0.1:${server.port}`)
    expect(none).toMatch(/MERSAL_INVALID_OPTIONS: redis\.url: .*docs\/redis\.md/)
    await redisCli(
      server.url,
      'ACL',
      'SETUSER',
      'mersal',
      'on',
      '>secret',
      '~{mersal}:*',
      '&{mersal}:*',
      ...transportRights,
    )
    const url = `redis://mersal:secret@127.0.0.1:${server.port}`
    await using transport = redis({ url, ...hasty })
    await transport.subscribe('q', ['t'])
    expect(textOf(await publishOne(transport))).toBe('confirmed')
    const error = new Error('no')
    let seen = 0
    {
      await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, () => {
        seen++
        return Promise.resolve(
          seen === 1
            ? { kind: 'retry', delayMs: 10, error }
            : { kind: 'reject', reason: 'rejected', error },
        )
      })
      while ((await transport.deadLetters.list()).length === 0) await wait(20)
    }
    const [letter] = await transport.deadLetters.list()
    expect(await transport.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    expect(await transport.operations.examine({ queues: ['q'] })).toBeInstanceOf(Array)
  })
})
