import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../../src/core/transport.ts'
import { redis, type RedisTransport } from '../../../src/redis.ts'
import { freePort } from '../../../scripts/servers/postgres.ts'
import { redisCli, streamOf } from '../../redis/plain-client.ts'
import { openPrivateRedis, redisIsHere } from '../../redis/server.ts'
import { hasty, numbered } from '../../redis/traffic.ts'

const here = redisIsHere()

const one = (): OutgoingMessage => numbered(2, 'q', 't')[1] as OutgoingMessage

async function publishOne(transport: RedisTransport, message = one()): Promise<string> {
  const outcome = (await transport.publish([message])[0]) as PublishOutcome
  return outcome.kind === 'confirmed' ? 'confirmed' : `${outcome.kind}: ${outcome.error.message}`
}

/** Accepts connections, and never says anything. */
async function silence(): Promise<AsyncDisposable & { port: number; sockets: Socket[] }> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}).resume())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as { readonly port: number }).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('a server that accepts and says nothing', () => {
  test('is given up after the time for connections, and its socket is closed', async () => {
    await using silent = await silence()
    await using transport = redis({
      url: `redis://127.0.0.1:${silent.port}`,
      ...hasty,
      connectTimeoutMs: 200,
    })
    expect(await publishOne(transport)).toMatch(/^unavailable: .*did not answer within 200 ms/)
    while (silent.sockets[0]?.closed !== true) await wait(10)
    expect(silent.sockets[0].closed).toBe(true)
  })

  test('a client that comes after its time is destroyed', async () => {
    const destroyed = Promise.withResolvers<void>()
    const late = { isOpen: true, isReady: true, destroy: () => destroyed.resolve() }
    await using transport = redis({
      connect: () => wait(400, late),
      ...hasty,
      connectTimeoutMs: 100,
    })
    expect(await publishOne(transport)).toMatch(/^unavailable: .*did not answer within 100 ms/)
    await expect(destroyed.promise).resolves.toBeUndefined()
  })
})

/** A certificate of 127.0.0.1 that vouches for itself. */
function certificate(): Disposable & { readonly cert: string; readonly key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-redis-tls-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const about = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  const files = ['-keyout', key, '-out', cert]
  const form = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2']
  execFileSync('openssl', [...form, ...about, ...files], { stdio: 'ignore' })
  return { cert, key, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

describe.skipIf(!here)('TLS', () => {
  test('messages go through with the certificate, and not without it', async () => {
    using made = certificate()
    const port = await freePort()
    const config = [
      `tls-port ${port}`,
      `tls-cert-file "${made.cert}"`,
      `tls-key-file "${made.key}"`,
      `tls-ca-cert-file "${made.cert}"`,
      'tls-auth-clients yes',
    ]
    await using server = await openPrivateRedis({ config })
    const ca = readFileSync(made.cert, 'utf8')
    const key = readFileSync(made.key, 'utf8')
    const url = `rediss://127.0.0.1:${port}`
    await using transport = redis({ url, ...hasty, tls: { ca, cert: ca, key } })
    await transport.subscribe('q', ['t'])
    const message = one()
    expect(await publishOne(transport, message)).toBe('confirmed')
    expect((await streamOf(server.url, '{mersal}:queue:q')).map(({ id }) => id)).toEqual([
      message.id,
    ])
    await using stranger = redis({ url, ...hasty })
    await expect(stranger.subscribe('q', [])).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining('redis.tls') as string,
    })
  })
})

describe.skipIf(!here)('sentinels', () => {
  test('after a failover messages go to the new master, although one sentinel is silent', async () => {
    await using master = await openPrivateRedis()
    const config = [`replicaof 127.0.0.1 ${master.port}`]
    await using replica = await openPrivateRedis({ config })
    const linked = async (): Promise<boolean> =>
      ((await redisCli(replica.url, 'ROLE')) as unknown[])[3] === 'connected'
    while (!(await linked())) await wait(50)
    await using sentinel = await openPrivateRedis({
      sentinel: true,
      config: [
        `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
        'sentinel down-after-milliseconds shop 500',
        'sentinel failover-timeout shop 3000',
      ],
    })
    await using silent = await silence()
    const nodes = [`127.0.0.1:${silent.port}`, `127.0.0.1:${sentinel.port}`]
    await using transport = redis({
      url: 'redis://ignored',
      ...hasty,
      sentinels: { master: 'shop', nodes },
      confirm: { replicas: 1 },
    })
    await transport.subscribe('q', ['t'])
    const before = one()
    expect(await publishOne(transport, before)).toBe('confirmed')
    await master.signal('SIGKILL')
    await using after = redis({
      url: 'redis://ignored',
      ...hasty,
      sentinels: { master: 'shop', nodes },
    })
    const message = one()
    while ((await publishOne(after, message)) !== 'confirmed') await wait(200)
    const there = (await streamOf(replica.url, '{mersal}:queue:q')).map(({ id }) => id)
    expect(there).toContain(before.id)
    expect(there).toContain(message.id)
    expect(((await redisCli(replica.url, 'ROLE')) as unknown[])[0]).toBe('master')
  })
})
