import { execFileSync } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kafka, type KafkaOptions } from '../../../../src/kafka.ts'
import { serverNameOf } from '../../../../src/transports/kafka/connection/tls.ts'

const secret = 'pa55/w&rd-of-the-canary'
const server = { bootstrapServers: '127.0.0.1:1' }
const sasl = { mechanism: 'PLAIN', username: 'shop', password: secret } as const

function caught(options: unknown): unknown {
  try {
    return kafka(options as KafkaOptions)
  } catch (error) {
    return error
  }
}

/** Field, what is given, and a word of the remedy. */
const mistakes: readonly (readonly [string, object, string])[] = [
  ['kafka.bootstrapServers', {}, "give either 'bootstrapServers' or 'url'"],
  ['kafka.bootstrapServers', { ...server, url: 'kafka://a:1' }, 'give either'],
  ['kafka.bootstrapServers', { bootstrapServers: [] }, 'expected text like host:port'],
  ['kafka.bootstrapServers', { bootstrapServers: `kafka://u:${secret}@a:1` }, "are in 'sasl'"],
  ['kafka.bootstrapServers', { bootstrapServers: 'a:99999' }, 'expected host:port'],
  ['kafka.url', { url: `amqp://u:${encodeURIComponent(secret)}@a:1` }, 'expected kafka://'],
  ['kafka.url', { url: 'kafka://u:%zz@a:1' }, 'encodeURIComponent()'],
  ['kafka.bootstrapServer', { bootstrapServer: 'a:1' }, "did you mean 'bootstrapServers'?"],
  ['kafka.clientId', { ...server, clientId: 'my app' }, 'expected 1 to 32 letters'],
  ['kafka.prefix', { ...server, prefix: 'a.b' }, 'expected 1 to 32 letters'],
  ['kafka.tls', { ...server, tls: 'yes' }, 'expected an object'],
  ['kafka.tls.caFile', { ...server, tls: { caFile: '' } }, 'expected text'],
  ['kafka.tls.ca', { ...server, tls: { ca: 'x', caFile: 'y' } }, "give either 'ca' or 'caFile'"],
  ['kafka.tls.cafile', { ...server, tls: { cafile: 'y' } }, "did you mean 'caFile'?"],
  [
    'kafka.sasl.mechanism',
    { ...server, sasl: { ...sasl, mechanism: 'GSSAPI' } },
    'expected one of',
  ],
  ['kafka.sasl.password', { ...server, sasl: { ...sasl, password: '' } }, 'is needed for PLAIN'],
  ['kafka.sasl.username', { ...server, sasl: { ...sasl, username: 7 } }, 'is needed for PLAIN'],
  ['kafka.sasl.token', { ...server, sasl: { mechanism: 'OAUTHBEARER' } }, 'expected a token'],
  ['kafka.topology', { ...server, topology: 'make' }, 'declare'],
  ['kafka.partitions', { ...server, partitions: 0 }, '1'],
  ['kafka.replicationFactor', { ...server, replicationFactor: 10 }, '9'],
  ['kafka.eventsWithoutSubscribers', { ...server, eventsWithoutSubscribers: 'drop' }, 'discard'],
  ['kafka.maxMessageBytes', { ...server, maxMessageBytes: 10 }, '1024'],
  ['kafka.sessionTimeoutMs', { ...server, sessionTimeoutMs: 0.5 }, '500'],
  ['kafka.confirmTimeoutMs', { ...server, confirmTimeoutMs: Number.NaN }, '10'],
  ['kafka.connectTimeoutMs', { ...server, connectTimeoutMs: '10s' }, '10'],
  ['kafka.logger', { ...server, logger: {} }, 'debug'],
]

describe('options of Kafka that are not as documented', () => {
  test.each(mistakes)(
    '%s is named, with a remedy, and no secret (case %#)',
    (field, options, word) => {
      const error = caught(options)
      expect(error).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS', details: { field } })
      expect((error as Error).message).toContain(field)
      expect((error as Error).message).toContain(word)
      const text = inspect(error, { depth: 20, showHidden: true })
      expect(text).not.toContain(secret)
      expect(text).not.toContain(encodeURIComponent(secret))
    },
  )
})

describe('certificates for Kafka that cannot be used', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mersal-kafka-tls-'))
    for (const name of ['one', 'other']) {
      const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`)]
      const made = ['-nodes', '-newkey', 'rsa:2048', '-days', '2', ...files]
      execFileSync('openssl', ['req', '-x509', ...made, '-subj', '/CN=x'], { stdio: 'ignore' })
    }
    writeFileSync(join(folder, 'text'), secret)
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const path = (name: string): string => join(folder, name)
  const cases: readonly (readonly [string, () => object, string])[] = [
    ['kafka.tls.caFile', () => ({ caFile: path('none') }), 'cannot be read (ENOENT)'],
    ['kafka.tls.caFile', () => ({ caFile: path('text') }), 'holds no certificate in PEM'],
    ['kafka.tls.ca', () => ({ ca: secret }), 'holds no certificate in PEM'],
    ['kafka.tls.cert', () => ({ keyFile: path('one.key') }), 'is needed beside the key'],
    ['kafka.tls.key', () => ({ certFile: path('one.pem') }), 'is needed beside the certificate'],
    [
      'kafka.tls.keyFile',
      () => ({ certFile: path('one.pem'), keyFile: path('other.key') }),
      'belongs to the certificate',
    ],
    [
      'kafka.tls.keyFile',
      () => ({ certFile: path('one.pem'), keyFile: path('text') }),
      'is no key in PEM',
    ],
  ]

  test.each(cases)('fail the start, which names %s (case %#)', async (field, tls, word) => {
    const lines: unknown[] = []
    const write = (...args: unknown[]): void => void lines.push(args)
    const logger = { debug: write, info: write, warn: write, error: write }
    await using transport = kafka({ ...server, sasl, tls: tls(), logger })
    const error: unknown = await transport.subscribe('q', []).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS', details: { field } })
    expect((error as Error).message).toContain(word)
    const text = inspect([error, lines, transport], { depth: 20, showHidden: true })
    expect(text).not.toContain(secret)
  })
})

test('whoever listens to the diagnostics of the client of Kafka is told no password', async () => {
  const contexts: unknown[] = []
  const note = (message: unknown): void => {
    const { type, instance } = message as { type: string; instance: { context: unknown } }
    if (type === 'connection') contexts.push(instance.context)
  }
  subscribe('plt:kafka:instances', note)
  await using transport = kafka({ ...server, sasl, clientId: 'shop', logger: false })
  await expect(transport.subscribe('q', [])).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
  unsubscribe('plt:kafka:instances', note)
  expect(contexts[0]).toEqual({ clientId: 'shop' })
  expect(inspect(contexts, { depth: 20, showHidden: true })).not.toContain(secret)
})

describe('the name that a broker is asked for', () => {
  test.each([
    [{ serverName: 'kafka.test' }, '10.0.0.1', 'kafka.test'],
    [{}, 'kafka-1.example.com', 'kafka-1.example.com'],
    [{}, '10.0.0.1', undefined],
    [{}, '::1', undefined],
  ])('with %o at %s', (tls, host, name) => {
    expect(serverNameOf(tls, host)).toBe(name)
  })
})
