import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { encoded, prefixOf, runScript } from '../../../src/lib/redis-script.ts'
import { redis } from '../../../src/redis.ts'
import { scripts } from '../../../src/transports/redis/scripts.ts'
import { streamOf } from '../../redis/plain-client.ts'
import { transportRights } from '../../redis/rights.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../../redis/server.ts'
import { hasty } from '../../redis/traffic.ts'

const here = redisIsHere()
let server: PrivateRedis

beforeAll(async () => {
  if (here) server = await openPrivateRedis({ fsync: 'off' })
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const connected = (url: string) =>
  createClient({ url })
    .on('error', () => {})
    .connect()
type Client = Awaited<ReturnType<typeof connected>>

const to = (kind: 'queue' | 'topic', name: string) => ({ transport: 'default', kind, name })

const message = (body = Buffer.from('x'), where = to('queue', 'q')): OutgoingMessage => ({
  id: randomUUID(),
  type: 'x',
  headers: {},
  body,
  to: where,
})

interface Taken {
  readonly id: string
  readonly attempts: number
}

interface Place extends AsyncDisposable {
  readonly admin: Client
  readonly name: string
  readonly prefix: string
  publish(messages: readonly OutgoingMessage[]): Promise<readonly string[]>
  clientWithout(right: string): Promise<Client>
  take(client: Client): Promise<readonly Taken[]>
  settle(client: Client, id: string, ...what: readonly (string | number)[]): Promise<unknown>
  /** What is in hand may be handed out again. */
  elapse(): Promise<void>
}

async function open(): Promise<Place> {
  const admin = await connected(server.url)
  const clients = [admin]
  const name = `s${randomUUID().slice(0, 8)}`
  const prefix = prefixOf(name)
  const transport = redis({ url: server.url, prefix: name, ...hasty, allowLoss: true })
  await transport.subscribe('q', [])
  const run = (client: Client, script: keyof typeof scripts, args: (string | number)[]) =>
    runScript((all) => client.sendCommand(all.map(encoded)), scripts[script], prefix, args)
  return {
    admin,
    name,
    prefix,
    async publish(messages) {
      const outcomes = await Promise.all(transport.publish(messages))
      return outcomes.map((one) =>
        one.kind === 'confirmed' ? one.kind : `${one.kind}: ${one.error.message}`,
      )
    },
    async clientWithout(right) {
      const user = randomUUID()
      const rights = transportRights.filter((one) => one !== right)
      const own = ['+hello', '+auth', '+ping', '+client', '+eval', '+evalsha']
      const acl = ['on', '>secret', `~${prefix}*`, `&${prefix}*`, ...rights, ...own]
      await admin.sendCommand(['ACL', 'SETUSER', user, ...acl])
      const client = await connected(`redis://${user}:secret@127.0.0.1:${server.port}`)
      clients.push(client)
      return client
    },
    async take(client) {
      const args = ['q', 50, 60_000, 'token', 100_000_000, 32 * 1024 * 1024]
      const [entries] = (await run(client, 'take', args)) as [[string, number][]]
      return entries.map(([id, attempts]) => ({ id, attempts }))
    },
    settle: (client, id, ...what) => run(client, 'settle', ['q', id, 'token', ...what]),
    async elapse() {
      for (const id of await admin.zRange(`${prefix}due:q`, 0, -1))
        await admin.zAdd(`${prefix}due:q`, { score: 0, value: id })
    },
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]()
      for (const client of clients) client.destroy()
    },
  }
}

/** Ids in the stream, which is everything that nobody has settled. */
const waiting = async ({ admin, prefix }: Place): Promise<string[]> =>
  ((await admin.xRange(`${prefix}queue:q`, '-', '+')) ?? []).map(({ id }) => id)

const failed = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => '',
    (error: Error) => error.message,
  )

/** What is done with the messages that were taken, in turn. */
const answers = [['ack'], ['retry', 0, ''], ['reject', 'rejected', 'no'], ['release']]
/** Without one of these an acknowledgement removes nothing. */
const ackNeeds = new Set(['+hget', '+xdel'])

describe.skipIf(!here)('a step of a consumer that fails on the server', () => {
  test.each(transportRights)('without the right %s: no message is lost', async (right) => {
    await using place = await open()
    await place.publish([1, 2, 3].map(() => message()))
    const [again] = await place.take(place.admin)
    await place.settle(place.admin, again?.id ?? '', 'retry', 0, '')
    await place.elapse()
    await place.publish([1, 2, 3].map(() => message()))
    const client = await place.clientWithout(right)
    const taken = await place.take(client).catch(() => [])
    for (const [index, { id }] of taken.entries())
      await failed(place.settle(client, id, ...(answers[index % answers.length] as string[])))
    const rest = await waiting(place)
    await place.elapse()
    expect((await place.take(place.admin)).map(({ id }) => id).toSorted()).toEqual(rest)
    const dead = await streamOf(server.url, `${place.prefix}dead:q`)
    const acknowledged = taken.filter((_, index) => answers[index % answers.length]?.[0] === 'ack')
    const gone = ackNeeds.has(right) ? 0 : acknowledged.length
    expect(rest.length + dead.length).toBe(6 - gone)
  })

  test.each(['due:q', 'state:q', 'queues'])(
    'with a foreign key in the place of %s: no message is lost, and no attempt is charged',
    async (name) => {
      await using place = await open()
      await place.publish([1, 2, 3].map(() => message()))
      const key = `${place.prefix}${name}`
      const before = await place.admin.exists(key)
      if (before > 0) await place.admin.rename(key, `${key}-kept`)
      await place.admin.set(key, 'of somebody else')
      expect(await failed(place.take(place.admin))).toMatch(/WRONGTYPE/)
      await place.admin.del(key)
      if (before > 0) await place.admin.rename(`${key}-kept`, key)
      expect((await place.take(place.admin)).map(({ attempts }) => attempts)).toEqual([1, 1, 1])
    },
  )

  test('what is due again is handed out, although nothing new can be read', async () => {
    await using place = await open()
    await place.publish([message()])
    await place.take(place.admin)
    await place.elapse()
    const client = await place.clientWithout('+xreadgroup')
    expect((await place.take(client)).map(({ attempts }) => attempts)).toEqual([2])
    expect(await failed(place.take(client))).toMatch(
      /can't run this command|no permissions to run the 'xreadgroup'/, // Redis 7.0, and 8
    )
  })

  test('a state that somebody has written over counts as nothing, and blocks nothing', async () => {
    await using place = await open()
    await place.publish([message(), message()])
    const [first] = await place.take(place.admin)
    await place.admin.hSet(`${place.prefix}state:q`, first?.id ?? '', 'no JSON')
    expect(await place.settle(place.admin, first?.id ?? '', 'ack')).toBe(0)
    await place.elapse()
    expect((await place.take(place.admin)).map(({ attempts }) => attempts)).toEqual([1, 2])
  })

  test('a take ends with the message that reaches the limit of bytes', async () => {
    await using place = await open()
    for (let count = 0; count < 6; count++) await place.publish([message(Buffer.alloc(10_000_000))])
    expect((await place.take(place.admin)).length).toBe(4)
    expect((await place.take(place.admin)).length).toBe(2)
  })
})

describe.skipIf(!here)('a foreign key in the place of a topic', () => {
  test('is named, and holds up nothing else', async () => {
    await using place = await open()
    const key = `${place.prefix}topic:t`
    await place.admin.set(key, 'of somebody else')
    const event = message(undefined, to('topic', 't'))
    expect(await place.publish([event, message()])).toEqual([
      expect.stringMatching(/^unavailable: .*:topic:t: WRONGTYPE/),
      'confirmed',
    ])
    await using other = redis({ url: server.url, prefix: place.name, ...hasty, allowLoss: true })
    await expect(other.subscribe('new', ['t'])).rejects.toThrow(`${key}: WRONGTYPE`)
    expect(await place.admin.exists(`${place.prefix}topics:new`)).toBe(0)
  })
})
