import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DocumentStorage, HeldDocument } from '../../../src/core/records/documents.ts'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { type Logger, silentLogger } from '../../../src/core/telemetry.ts'
import { type RedisCommands, redisDocuments } from '../../../src/redis.ts'
import { documentRights } from '../../redis/rights.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../../redis/server.ts'

const here = redisIsHere()
let server: PrivateRedis

beforeAll(async () => {
  if (here)
    server = await openPrivateRedis({ fsync: 'off', config: ['enable-debug-command local'] })
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const key = { collection: 'orders', id: 'one' }
const state = Buffer.from('{}')

const message = (label: string, body = Buffer.from(label)): OutgoingMessage => ({
  id: randomUUID(),
  type: label,
  headers: {},
  body,
  to: { transport: 'default', kind: 'topic', name: label },
})

const connected = (url: string) =>
  createClient({ url })
    .on('error', () => {})
    .connect()

type Client = Awaited<ReturnType<typeof connected>>

interface Place extends AsyncDisposable {
  readonly admin: Client
  readonly prefix: string
  readonly storage: DocumentStorage
  /** With all rights but this one. */
  clientWithout(right: string): Promise<Client>
  storageWithout(right: string): Promise<DocumentStorage>
  /** A digest of everything that is stored. */
  snapshot(): Promise<Readonly<Record<string, string>>>
}

async function open(): Promise<Place> {
  const admin = await connected(server.url)
  const clients = [admin]
  const name = `d${randomUUID().slice(0, 8)}`
  const prefix = `{${name}}:`
  const clientWithout = async (right: string): Promise<Client> => {
    const user = randomUUID()
    const rights = documentRights.filter((one) => one !== right)
    const acl = ['on', '>secret', `~${prefix}*`, '+hello', '+client', ...rights]
    await admin.sendCommand(['ACL', 'SETUSER', user, ...acl])
    const client = await connected(`redis://${user}:secret@127.0.0.1:${server.port}`)
    clients.push(client)
    return client
  }
  return {
    admin,
    prefix,
    storage: redisDocuments({ client: admin, prefix: name }),
    clientWithout,
    storageWithout: async (right) =>
      redisDocuments({ client: await clientWithout(right), prefix: name }),
    async snapshot() {
      const keys = (await admin.keys(`${prefix}*`)).toSorted()
      const digests = await admin.sendCommand<string[]>(['DEBUG', 'DIGEST-VALUE', ...keys])
      return Object.fromEntries(keys.map((one, at) => [one, String(digests[at])]))
    },
    [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy()
      return Promise.resolve()
    },
  }
}

let holds = 0
async function hold(
  storage: DocumentStorage,
): Promise<readonly (HeldDocument & { token: string })[]> {
  const token = `t${holds++}`
  const found = await storage.findWithMessages({ limit: 50, holdMs: 1, token })
  return found.map((one) => ({ ...one, token }))
}

async function heldOne(storage: DocumentStorage): Promise<HeldDocument & { token: string }> {
  const [one] = await hold(storage)
  if (one === undefined) throw new Error('no document is due')
  return one
}

/** Types of all messages, as they come. */
async function drained(storage: DocumentStorage): Promise<readonly string[]> {
  const types: string[] = []
  for (;;) {
    const [one] = await hold(storage)
    if (one === undefined) return types
    types.push(...one.messages.map(({ type }) => type))
    const settled = { key: one.key, token: one.token, attempts: 0, retryMs: 0 }
    await storage.removeMessages({ ...settled, confirmed: one.messages.length })
  }
}

/** Dead letters cannot be stored through it. */
async function withoutBurials(
  place: Place,
  why: string,
  warn: Logger['warn'],
): Promise<DocumentStorage> {
  const { admin, prefix } = place
  const name = prefix.slice(1, -2)
  const logger = { ...silentLogger, warn }
  if (why === 'a missing right')
    return redisDocuments({ client: await place.clientWithout('+xadd'), prefix: name, logger })
  if (why === 'a foreign key in their place') {
    await admin.set(`${prefix}dead`, 'of somebody else')
    return redisDocuments({ client: admin, prefix: name, logger })
  }
  const sendCommand: RedisCommands['sendCommand'] = (args, options) =>
    args.includes('undecodable')
      ? Promise.reject(new Error('Socket closed unexpectedly'))
      : admin.sendCommand(args, options)
  return redisDocuments({ client: { sendCommand }, prefix: name, logger })
}

const rejected = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: { readonly code?: string; readonly message: string }) => error.code ?? error.message,
  )

const save = (storage: DocumentStorage, version: number, more: object = {}) =>
  storage.save({ key, version, state, messages: [message('a'), message('b')], ...more })

const handling = { consumer: 'billing', messageId: 'm' }

describe.skipIf(!here)('a step that fails on the server', () => {
  test.each(documentRights)(
    'without the right %s: a change is stored whole or not at all',
    async (right) => {
      await using place = await open()
      await save(place.storage, 0)
      const before = await place.snapshot()
      const without = await place.storageWithout(right)
      const removal = { state: undefined, handling }
      const answer = await rejected(save(without, 1, removal))
      if (answer === 'done') {
        expect(await drained(place.storage)).toEqual(['a', 'b', 'a', 'b'])
        expect((await place.storage.load(key, handling)).handled).toBe(true)
      } else {
        expect(answer).toBe('MERSAL_STORE_FAILED')
        expect(await place.snapshot()).toEqual(before)
      }
    },
  )

  test.each(['due', 'doc:orders/one', 'inbox:orders/one'])(
    'with a foreign key in the place of %s: a change stores nothing',
    async (foreign) => {
      await using place = await open()
      await place.admin.sendCommand(['SET', `${place.prefix}${foreign}`, 'of somebody else'])
      const before = await place.snapshot()
      expect(await rejected(save(place.storage, 0, { handling }))).toBe('MERSAL_STORE_FAILED')
      expect(await place.snapshot()).toEqual(before)
    },
  )

  test.each(documentRights)(
    'without the right %s: a settlement loses no message',
    async (right) => {
      await using place = await open()
      await save(place.storage, 0, { messages: ['a', 'b', 'c'].map((label) => message(label)) })
      const without = await place.storageWithout(right)
      const held = await heldOne(place.storage)
      const dead = { reason: 'refused', error: 'no' } as const
      const settlement = { key, token: held.token, confirmed: 1, attempts: 0, retryMs: 0, dead }
      const answer = await rejected(without.removeMessages(settlement))
      await place.admin.sendCommand(['ZADD', `${place.prefix}due`, 'XX', '0', 'orders/one'])
      const letters = (await place.storage.deadLetters.list()).map(({ type }) => type)
      const rest = await drained(place.storage)
      if (answer === 'done') expect([letters, rest]).toEqual([['b'], ['c']])
      // What was confirmed need not come again.
      else expect([letters, rest.filter((type) => type !== 'a')]).toEqual([[], ['b', 'c']])
    },
  )

  test('with a foreign key in the place of the dead letters: what is confirmed is removed, the rest stays and waits', async () => {
    await using place = await open()
    await save(place.storage, 0)
    await place.admin.sendCommand(['SET', `${place.prefix}dead`, 'of somebody else'])
    const { token } = await heldOne(place.storage)
    const dead = { reason: 'refused', error: 'no' } as const
    const settlement = { key, token, confirmed: 1, attempts: 0, retryMs: 0, dead }
    await expect(place.storage.removeMessages(settlement)).rejects.toThrow(
      `${place.prefix}dead: WRONGTYPE`,
    )
    expect(await hold(place.storage)).toEqual([])
    await place.admin.sendCommand(['ZADD', `${place.prefix}due`, 'XX', '0', 'orders/one'])
    expect(await drained(place.storage)).toEqual(['b'])
  })

  test.each(documentRights)(
    'without the right %s: a dead letter comes back whole or stays',
    async (right) => {
      await using place = await open()
      await save(place.storage, 0, { messages: [message('a')] })
      const { token } = await heldOne(place.storage)
      const dead = { reason: 'refused', error: 'no' } as const
      const settled = { key, token, confirmed: 0, attempts: 0, retryMs: 0, dead }
      await place.storage.removeMessages(settled)
      const [letter] = await place.storage.deadLetters.list()
      const without = await place.storageWithout(right)
      const answer = await rejected(without.deadLetters.retry([letter?.key ?? '']))
      const letters = (await place.storage.deadLetters.list()).map(({ type }) => type)
      expect([letters, await drained(place.storage)]).toEqual(
        answer === 'done' ? [[], ['a']] : [['a'], []],
      )
    },
  )
})

describe.skipIf(!here)('limits of a change', () => {
  test('a thousand messages are stored; more, or too many bytes, are refused before anything is', async () => {
    await using place = await open()
    const labels = Array.from({ length: 1001 }, (_, index) => String(index))
    const messages = labels.map((label) => message(label))
    expect(await rejected(save(place.storage, 0, { messages }))).toBe('MERSAL_TOO_LARGE')
    const body = Buffer.alloc(90_000_000)
    const large = [1, 2, 3].map(() => message('large', body))
    expect(await rejected(save(place.storage, 0, { messages: large }))).toBe('MERSAL_TOO_LARGE')
    expect(await place.snapshot()).toEqual({})
    expect(await save(place.storage, 0, { messages: messages.slice(1) })).toBe('saved')
    expect(await drained(place.storage)).toEqual(labels.slice(1))
  })
})

describe.skipIf(!here)('what somebody else wrote', () => {
  test('a message that cannot be read becomes a dead letter with its bytes; those beside it go on', async () => {
    await using place = await open()
    const other = { key: { ...key, id: 'other' }, version: 0, state, messages: [message('other')] }
    await save(place.storage, 0)
    await place.storage.save(other)
    await place.admin.sendCommand(['HSET', `${place.prefix}doc:orders/one`, 'm:1', 'no message'])
    const found = [...(await drained(place.storage))]
    expect(found.toSorted()).toEqual(['b', 'other'])
    const [letter] = await place.storage.deadLetters.list()
    expect(letter).toMatchObject({ reason: 'undecodable', id: '', place: 'orders/one' })
    expect(String(letter?.body)).toBe('no message')
  })

  test.each(['a foreign key in their place', 'a missing right', 'a lost connection'])(
    'a document whose message can neither be read nor buried, for %s, takes no other one along',
    async (why) => {
      await using place = await open()
      const logged: unknown[] = []
      const storage = await withoutBurials(place, why, (...line) => logged.push(line))
      for (const id of ['first', 'bad', 'last'])
        await storage.save({ key: { ...key, id }, version: 0, state, messages: [message(id)] })
      await place.admin.hSet(`${place.prefix}doc:orders/bad`, 'm:1', 'no message')
      const claim = { limit: 50, holdMs: 60_000, token: 't' }
      const found = await storage.findWithMessages(claim)
      expect(found.map((one) => [one.key.id, one.attempts])).toEqual([
        ['first', 1],
        ['last', 1],
      ])
      expect(JSON.stringify(logged)).toMatch(/doc:orders\/bad/)
      expect(logged.length).toBe(1)
      await place.admin.zAdd(`${place.prefix}due`, { score: 0, value: 'orders/bad' })
      await expect(storage.findWithMessages(claim)).rejects.toThrow(
        `${place.prefix}doc:orders/bad: `,
      )
      expect(await place.admin.hGet(`${place.prefix}doc:orders/bad`, 'm:1')).toBe('no message')
    },
  )

  test('a message that somebody took out leaves a gap that holds up nothing', async () => {
    await using place = await open()
    await save(place.storage, 0)
    await place.admin.sendCommand(['HDEL', `${place.prefix}doc:orders/one`, 'm:1'])
    expect(await drained(place.storage)).toEqual(['b'])
  })

  test('a key of another kind in the place of a document is named, and holds up no other document', async () => {
    await using place = await open()
    await save(place.storage, 0)
    await place.admin.sendCommand(['SET', `${place.prefix}doc:orders/foreign`, 'x'])
    await place.admin.sendCommand(['ZADD', `${place.prefix}due`, '0', 'orders/foreign'])
    const token = 't'
    const found = await place.storage.findWithMessages({ limit: 50, holdMs: 60_000, token })
    expect(found.map((one) => one.key.id)).toEqual(['one'])
    await place.admin.sendCommand(['ZADD', `${place.prefix}due`, '0', 'orders/foreign'])
    await expect(
      place.storage.findWithMessages({ limit: 50, holdMs: 60_000, token }),
    ).rejects.toThrow(`${place.prefix}doc:orders/foreign: WRONGTYPE`)
  })
})

describe.skipIf(!here)('dead letters', () => {
  test('a page ends after about 32 MiB; what is too large is shown without its body', async () => {
    await using place = await open()
    const head = (id: string): Buffer => {
      const { body: _, ...rest } = message(id)
      return Buffer.from(`${JSON.stringify(rest)}\n`)
    }
    for (const [id, bytes] of [
      ['1', 20_000_000],
      ['2', 20_000_000],
      ['3', 70_000_000],
      ['4', 10],
    ] as const) {
      const packed = Buffer.concat([head(id), Buffer.alloc(bytes)])
      const fields = ['document', 'orders/one', 'reason', 'refused', 'message', packed]
      await place.admin.sendCommand(['XADD', `${place.prefix}dead`, '*', ...fields])
    }
    const page = await place.storage.deadLetters.list()
    expect(page.map(({ type }) => type)).toEqual(['1', '2'])
    const rest = await place.storage.deadLetters.list({ after: page.at(-1)?.key ?? '' })
    expect(rest.map(({ type, body }) => [type, body.byteLength])).toEqual([
      ['3', 0],
      ['4', 10],
    ])
    expect(rest[0]?.withheldBytes).toBeGreaterThan(70_000_000)
  })
})
