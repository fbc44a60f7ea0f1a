import { createClient, SimpleError } from '@redis/client'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../../src/core/transport.ts'
import { redis, type RedisOptions, type RedisTransport } from '../../../src/redis.ts'
import { redisCli, streamOf } from '../../redis/plain-client.ts'
import {
  openPrivateRedis,
  openPrivateRedis8,
  redis8IsHere,
  redisIsHere,
} from '../../redis/server.ts'
import { hasty, numbered } from '../../redis/traffic.ts'
import { transportRights } from '../../redis/rights.ts'

const here = redisIsHere()
const refusal = "NOPERM this user has no permissions to run the 'waitaof' command"

async function publishOne(transport: RedisTransport): Promise<string> {
  const message = numbered(2, 'q', 't')[1] as OutgoingMessage
  const outcome = (await transport.publish([message])[0]) as PublishOutcome
  return outcome.kind === 'confirmed' ? 'confirmed' : `${outcome.kind}: ${outcome.error.message}`
}

type Client = ReturnType<typeof createClient>

/**
 * A client of the real server, except that the server seems to be Redis 7.2: `WAITAOF`, which the
 * servers of the tests do not know, is answered here.
 */
async function withWaitAof(url: string, waitAof: () => unknown): Promise<Client> {
  const client: Client = createClient({ url, socket: { reconnectStrategy: false } })
  await client.connect()
  const sendCommand = async (args: readonly string[], options?: object): Promise<unknown> => {
    if (args[0] === 'WAITAOF') return waitAof()
    const answer: unknown = await client.sendCommand(args, options)
    return args[0] === 'INFO'
      ? String(answer).replace(/redis_version:.*/, 'redis_version:7.2.0')
      : answer
  }
  return new Proxy(client, {
    get(target, name) {
      if (name === 'sendCommand') return sendCommand
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

async function synced(
  waitAof: () => unknown,
  use: (transport: RedisTransport, copies: () => Promise<number>) => Promise<void>,
): Promise<void> {
  await using server = await openPrivateRedis({ fsync: 'everysec' })
  const options: RedisOptions = {
    ...hasty,
    connect: () => withWaitAof(server.url, waitAof),
    confirm: 'synced',
  }
  await using transport = redis(options)
  await transport.subscribe('q', ['t'])
  await use(transport, async () => (await streamOf(server.url, '{mersal}:queue:q')).length)
}

describe.skipIf(!here)("confirm: 'synced' by WAITAOF", () => {
  const faults: readonly (readonly [string, RegExp, () => unknown])[] = [
    ['the disk is too slow', /it has not reached the disk yet/, () => [0, 0]],
    [
      'the server answers an error',
      /ERR of the disk/,
      () => {
        throw new SimpleError('ERR of the disk')
      },
    ],
    [
      'the right was taken away',
      /the user lacks a permission/,
      () => {
        throw new SimpleError(refusal)
      },
    ],
  ]

  test.each(faults)('P6: while %s, tries leave one copy, and then it goes on', (_, why, fault) => {
    let answer: () => unknown = () => [1, 0]
    return synced(
      () => answer(),
      async (transport, copies) => {
        expect(await publishOne(transport)).toBe('confirmed')
        answer = fault
        const first = await publishOne(transport)
        expect(first).toMatch(/^unknown: /)
        expect(first).toMatch(why)
        for (let again = 0; again < 5; again++) {
          const next = await publishOne(transport)
          expect(next).toMatch(/^unavailable: /)
          expect(next).toMatch(why)
        }
        expect(await copies()).toBe(2)
        answer = () => [1, 0]
        expect(await publishOne(transport)).toBe('confirmed')
        expect(await copies()).toBe(3)
      },
    )
  })

  test('a question without an answer, before anything is stored: unavailable, not unknown', () => {
    let answer: () => unknown = () => [1, 0]
    return synced(
      () => answer(),
      async (transport, copies) => {
        answer = () => [0, 0]
        expect(await publishOne(transport)).toMatch(/^unknown: /)
        answer = () => new Promise(() => {})
        expect(await publishOne(transport)).toMatch(/^unavailable: /)
        expect(await copies()).toBe(1)
      },
    )
  })
})

describe.skipIf(!redis8IsHere())("confirm: 'synced' on a server with WAITAOF", () => {
  test('P2: waits for the disk with each confirm, and what was confirmed outlives SIGKILL', async () => {
    await using server = await openPrivateRedis8()
    const patient = { ...hasty, confirmTimeoutMs: 10_000 } // the disk is written once a second
    await using transport = redis({ ...patient, url: server.url, confirm: 'synced' })
    await transport.subscribe('q', ['t'])
    for (let count = 0; count < 5; count++) expect(await publishOne(transport)).toBe('confirmed')
    const plain = await createClient({ url: server.url }).connect()
    const told = await plain.info('commandstats')
    plain.destroy()
    expect(Number(/cmdstat_waitaof:calls=(\d+)/.exec(told)?.[1])).toBeGreaterThanOrEqual(5)
    await server.signal('SIGKILL')
    await server.start()
    expect(await streamOf(server.url, '{mersal}:queue:q')).toHaveLength(5)
  })

  test('tells of a missing right at the start', async () => {
    await using server = await openPrivateRedis8()
    const user = ['ACL', 'SETUSER', 'mersal', 'on', '>secret', '~{mersal}:*', '&{mersal}:*']
    await redisCli(server.url, ...user, ...transportRights)
    const url = server.url.replace('redis://', 'redis://mersal:secret@')
    await using transport = redis({ ...hasty, url, confirm: 'synced' })
    const started = transport.subscribe('q', []).catch((error: unknown) => error)
    expect(await started).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    await redisCli(server.url, 'ACL', 'SETUSER', 'mersal', '+waitaof')
    await using allowed = redis({ ...hasty, url, confirm: 'synced' })
    await allowed.subscribe('q', [])
  })
})

describe.skipIf(!here)('the right to wait is missing from the start', () => {
  const started = (transport: RedisTransport): Promise<unknown> =>
    transport.subscribe('q', []).catch((error: unknown) => error)

  const told = {
    code: 'MERSAL_INVALID_OPTIONS',
    message: expect.stringContaining('docs/redis.md lists the permissions') as string,
  }

  test('+waitaof', async () => {
    await using server = await openPrivateRedis({ fsync: 'everysec' })
    const connect = (): Promise<Client> =>
      withWaitAof(server.url, () => {
        throw new SimpleError(refusal)
      })
    await using transport = redis({ ...hasty, connect, confirm: 'synced' })
    expect(await started(transport)).toMatchObject(told)
  })

  test('+wait', async () => {
    await using server = await openPrivateRedis()
    const user = ['ACL', 'SETUSER', 'mersal', 'on', '>secret', '~{mersal}:*', '&{mersal}:*']
    const rights = transportRights.filter((right) => right !== '+wait')
    await redisCli(server.url, ...user, ...rights)
    const url = `redis://mersal:secret@127.0.0.1:${server.port}`
    await using transport = redis({ url, ...hasty, confirm: { replicas: 1 } })
    expect(await started(transport)).toMatchObject(told)
  })
})
