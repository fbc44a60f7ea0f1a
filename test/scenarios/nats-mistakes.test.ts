import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../src/nats.ts'
import { plainClient } from '../nats/plain-client.ts'
import { natsIsHere, openPrivateNats, type PrivateNats } from '../nats/server.ts'

const here = natsIsHere()
const secret = 'pa55/w&rd-of-the-canary'
let folder: string
let server: PrivateNats
let locked: PrivateNats
let encrypted: PrivateNats

/** What docs/nats.md lists. */
const permissionsWith = (more = ''): string => `permissions: {
  publish: [${more}
    "mersal.>", "$JS.ACK.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.PURGE.mersal-topics", "$JS.API.STREAM.PURGE.mersal-state",
    "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.MSG.DELETE.mersal-dead",
    "$JS.API.CONSUMER.INFO.*.mersal", "$JS.API.CONSUMER.CREATE.*.mersal",
    "$JS.API.CONSUMER.DURABLE.CREATE.*.mersal", "$JS.API.CONSUMER.DELETE.*.mersal",
    "$JS.API.CONSUMER.MSG.NEXT.*.mersal"
  ]
  subscribe: ["_INBOX.>"]
}`
const permissions = permissionsWith()
const orderedPermissions = permissionsWith(`
    "$JS.API.CONSUMER.CREATE.*.*", "$JS.API.CONSUMER.CREATE.*.*.>",
    "$JS.API.CONSUMER.DELETE.*.*", "$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.MSG.NEXT.*.*",`)

beforeAll(async () => {
  if (!here) return
  folder = mkdtempSync(join(tmpdir(), 'mersal-nats-tls-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
  const made = ['-nodes', '-newkey', 'rsa:2048', '-days', '2', '-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', '-x509', ...made, ...subject], { stdio: 'ignore' })
  server = await openPrivateNats()
  const login = (user: string, more: string): string =>
    `{ user: ${user}, password: "${secret}"${more} }`
  const users = [
    login('shop', `, ${permissions}`),
    login('ledger', `, ${orderedPermissions}`),
    login('nobody', ', permissions: { publish: { deny: ">" } }'),
  ]
  locked = await openPrivateNats({ config: [`authorization { users: [ ${users.join(', ')} ] }`] })
  encrypted = await openPrivateNats({
    config: [`tls { cert_file: "${cert}", key_file: "${key}" }`],
  })
})
afterAll(async () => {
  if (!here) return
  for (const each of [server, locked, encrypted]) await each[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

function toQueue(name: string): OutgoingMessage {
  const to = { transport: 'default', kind: 'queue', name } as const
  return { id: 'id', type: 'type', headers: {}, body: Buffer.from('{}'), to }
}

/** What a transport says when it cannot be used: the error of the start, and all that it logs. */
async function failure(
  options: NatsOptions,
  code = 'MERSAL_INVALID_OPTIONS',
): Promise<{ readonly field: unknown; readonly text: string }> {
  const lines: unknown[] = []
  const write = (...args: unknown[]): void => void lines.push(args)
  await using transport = nats({
    connectTimeoutMs: 3000,
    logger: { debug: write, info: write, warn: write, error: write },
    ...options,
  })
  const caught: unknown = await transport.subscribe('q', []).catch((error: unknown) => error)
  expect(caught).toMatchObject({ code })
  const outcome = await transport.publish([toQueue('q')])[0]
  const text = inspect([caught, outcome, lines, transport], { depth: 20, showHidden: true })
  expect(text).not.toContain(secret)
  expect(text).not.toContain(encodeURIComponent(secret))
  return { field: (caught as { details: { field?: unknown } }).details.field, text }
}

const urlOf = (user: string, { port }: PrivateNats, password = secret): string =>
  `nats://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}`

describe.skipIf(!here)(
  'what is wrong with a NATS is said clearly, without the password (P14)',
  () => {
    test('a wrong password, and a user without permissions', async () => {
      const wrong = await failure({ url: urlOf('shop', locked, `${secret}x`) })
      expect(wrong.field).toBe('nats.url')
      expect(wrong.text).toContain('NATS refuses user, password or token')
      const bare = await failure({ url: urlOf('nobody', locked) })
      expect(bare.text).toContain('lacks a permission')
    })

    test('a closed port', async () => {
      const { text } = await failure(
        { url: `nats://shop:${encodeURIComponent(secret)}@127.0.0.1:1` },
        'MERSAL_UNAVAILABLE',
      )
      expect(text).toContain('no connection to NATS')
    })

    test('a certificate that is not trusted, and a server without TLS', async () => {
      const distrusted = await failure({ url: `nats://127.0.0.1:${encrypted.port}` })
      expect([distrusted.field, distrusted.text]).toEqual([
        'nats.tls',
        expect.stringContaining('look at tls.ca'),
      ])
      const plain = await failure({ url: `tls://127.0.0.1:${server.port}` })
      expect(plain.field).toBe('nats.tls')
    })

    test('a certificate that is trusted works', async () => {
      await using transport = nats({
        url: `tls://127.0.0.1:${encrypted.port}`,
        tls: { caFile: join(folder, 'cert.pem') },
        logger: false,
      })
      await transport.subscribe('q', [])
      expect(await transport.publish([toQueue('q')])[0]).toEqual({ kind: 'confirmed' })
    })

    test('a server without JetStream', async () => {
      await using bare = await openPrivateNats({ jetStream: false })
      const { field, text } = await failure({ url: bare.url })
      expect([field, text]).toEqual([
        'nats.url',
        expect.stringContaining('start nats-server with -js'),
      ])
    })

    test('a stream that drops what it has confirmed, and one that is missing', async () => {
      await using plain = await plainClient(server.url)
      await plain.manager.streams.add({
        name: 'other-queue-q',
        subjects: ['other.queue.q'],
        max_age: 1_000_000_000,
      })
      const limited = await failure({ url: server.url, prefix: 'other' })
      expect(limited.text).toContain("the stream 'other-queue-q' has retention limits")
      const missing = await failure({ url: server.url, prefix: 'third', topology: 'check' })
      expect([missing.field, missing.text]).toEqual([
        'nats.topology',
        expect.stringContaining("stream 'third-queue-q' is missing"),
      ])
    })
  },
)

describe.skipIf(!here)('the permissions that docs/nats.md lists', () => {
  test('are enough to subscribe, publish, consume, retry, reject, look and operate', async () => {
    const url = urlOf('shop', locked)
    await using transport: NatsTransport = nats({ url, logger: false })
    await transport.subscribe('q', ['topic'])
    expect(await transport.topicsOf('q')).toEqual(['topic'])
    expect(await transport.publish([toQueue('q')])[0]).toEqual({ kind: 'confirmed' })
    // The stream knows its id: it is looked for there.
    expect(await transport.publish([toQueue('q')])[0]).toEqual({ kind: 'confirmed' })
    await using slower = nats({ url, logger: false, ackWaitMs: 20_000 })
    await slower.subscribe('q', [])
    const attempts: number[] = []
    const rejected = Promise.withResolvers<void>()
    {
      const consumption = { queue: 'q', concurrency: 1 }
      await using _ = await transport.consume(consumption, ({ attempt }) => {
        attempts.push(attempt)
        const error = new Error('no')
        if (attempts.length === 1)
          return Promise.resolve({ kind: 'retry', delayMs: 10, error, postponedSince: 1 })
        if (attempts.length === 2) return Promise.resolve({ kind: 'release' })
        rejected.resolve()
        return Promise.resolve({ kind: 'reject', reason: 'rejected', error })
      })
      await rejected.promise
    }
    expect(attempts).toEqual([1, 1, 1])
    const [letter] = await transport.deadLetters.list()
    expect(letter).toMatchObject({ id: 'id', place: 'q' })
    expect(await transport.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    const findings = await transport.operations.examine({ queues: ['q'] })
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([])
    expect(await transport.operations.queues({ names: [] })).toEqual([
      { queue: 'q', dead: 0, waiting: 1 },
    ])
  })

  test('with those for order per key are enough to take over what another process has read', async () => {
    const url = urlOf('ledger', locked)
    await using first = nats({ url, logger: false, partitions: 2 })
    await using second = nats({ url, logger: false, partitions: 2 })
    await first.subscribe('ordered', [])
    const consumption = { queue: 'ordered', concurrency: 1, orderPerKey: true }
    const attempts: number[] = []
    const consumer = await first.consume(consumption, async ({ attempt }) => {
      attempts.push(attempt)
      return { kind: 'retry', delayMs: 10, error: new Error('once more') }
    })
    const message = { ...toQueue('ordered'), headers: { 'partition-key': 'key' } }
    expect(await first.publish([message])[0]).toEqual({ kind: 'confirmed' })
    await expect.poll(() => attempts.length, { timeout: 60_000 }).toBeGreaterThan(2)
    await consumer[Symbol.asyncDispose]()
    const taken = Promise.withResolvers<number>()
    await using _ = await second.consume(consumption, async ({ attempt }) => {
      taken.resolve(attempt)
      return { kind: 'ack' }
    })
    expect(await taken.promise).toBe(attempts.length + 1)
  })
})
