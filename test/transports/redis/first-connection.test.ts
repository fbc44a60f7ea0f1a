import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../../scripts/servers/postgres.ts'
import { redis, type RedisOptions } from '../../../src/redis.ts'
import { redisCli } from '../../redis/plain-client.ts'
import { transportRights } from '../../redis/rights.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../../redis/server.ts'
import { hasty } from '../../redis/traffic.ts'

describe.skipIf(!redisIsHere())('what a first connection meets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-redis-first-'))
  let server: PrivateRedis
  let secure: number

  beforeAll(async () => {
    secure = await freePort()
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const form = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=me']
    execFileSync('openssl', [...form, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    const tls = [`tls-cert-file "${cert}"`, `tls-key-file "${key}"`, `tls-ca-cert-file "${cert}"`]
    server = await openPrivateRedis({
      fsync: 'everysec',
      password: 'canary',
      config: [`tls-port ${secure}`, ...tls],
    })
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  function heard() {
    const warnings: string[] = []
    const warn = (_: object, text: string) => void warnings.push(text)
    return { warnings, logger: { debug() {}, info() {}, warn, error() {} } }
  }

  /** Why a first connection fails. */
  async function failure(options: RedisOptions): Promise<string> {
    await using transport = redis({ ...options, ...hasty, connectTimeoutMs: 1000 })
    const error: unknown = await transport.subscribe('q', []).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    return error instanceof Error ? error.message : 'none'
  }

  test('TLS where the server has none, and none where it has: the error names the other URL', async () => {
    expect(await failure({ url: `rediss://127.0.0.1:${server.port}` })).toMatch(
      /begin the URL with redis:\/\/ if the server speaks no TLS on this port/,
    )
    expect(await failure({ url: `redis://127.0.0.1:${secure}` })).toMatch(
      /begin the URL with rediss:\/\/ if the server wants TLS on this port/,
    )
  })

  test('a server that wants a password: the error says where it goes', async () => {
    expect(await failure({ url: `redis://127.0.0.1:${server.port}` })).toMatch(
      /^redis\.url: the server wants a password: redis:\/\/user:password@host:port/,
    )
  })

  test('rights that are missing are told by their names at the start, and in an examination', async () => {
    const user = ['ACL', 'SETUSER', 'mersal', 'on', '>secret', '~{mersal}:*', '&{mersal}:*']
    await redisCli(server.url, ...user, ...transportRights, '-zadd', '-subscribe')
    const { warnings, logger } = heard()
    const url = `redis://mersal:secret@127.0.0.1:${server.port}`
    const { confirm: _, ...others } = hasty
    await using transport = redis({ url, ...others, logger })
    await transport.subscribe('q', [])
    expect(warnings).toEqual([
      expect.stringMatching(/may not read when messages reach the disk .* give it \+config\|get/),
      'Redis: the user lacks rights for keys and channels that begin with {mersal}: (zadd, subscribe); docs/redis.md lists all that are needed',
    ])
    const findings = await transport.operations.examine({ queues: [] })
    expect(findings).toContainEqual({
      level: 'fault',
      subject: 'redis rights',
      text: 'missing: zadd, subscribe',
      remedy: 'give the user all that docs/redis.md lists',
    })
    await redisCli(server.url, ...user, '+zadd', '+subscribe')
    const allowed = heard()
    await using other = redis({ url, ...hasty, logger: allowed.logger })
    await other.subscribe('q', [])
    expect(allowed.warnings).toEqual([])
  })

  test('fewer replicas than each confirm waits for are told, beside the disk', async () => {
    const { warnings, logger } = heard()
    const confirm = { replicas: 2 }
    await using transport = redis({ url: server.url, ...hasty, confirm, logger })
    await transport.subscribe('q', [])
    expect(warnings).toEqual([
      'Redis: the server has 0 replicas, and each confirm waits for 2: until they are there nothing is confirmed',
    ])
    const findings = await transport.operations.examine({ queues: [] })
    expect(findings).toContainEqual({
      level: 'fault',
      subject: 'redis replicas',
      text: '0, and each confirm waits for 2',
      remedy: 'connect that many replicas, or lower confirm.replicas',
    })
  })
})
