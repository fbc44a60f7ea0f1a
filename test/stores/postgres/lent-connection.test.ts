import { connect, createServer, type AddressInfo } from 'node:net'
import { Pool } from 'pg'
import { expect, test } from 'vitest'
import { postgres } from '../../../src/postgres.ts'
import { newToken } from '../../postgres/messages.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'

const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** What a server sends that is shut down: an error in the severity FATAL. */
function shutDown(): Buffer {
  const fields = [
    'SFATAL',
    'VFATAL',
    'C57P01',
    'Mterminating connection due to administrator command',
    '',
  ]
  const body = Buffer.from(fields.map((field) => `${field}\0`).join(''))
  const head = Buffer.from([0x45, 0, 0, 0, 0])
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/**
 * A server on the way down: says that it is ready and that it ends in one breath, to the first so
 * many connections.
 */
async function dyingServer(
  doomed: number,
): Promise<AsyncDisposable & { readonly port: number; readonly ended: number }> {
  const { hostname, port } = new URL(serverUrl)
  let left = doomed
  let ended = 0
  const server = createServer((client) => {
    const upstream = connect(Number(port || 5432), hostname)
    const dies = left-- > 0
    for (const socket of [client, upstream]) socket.on('error', () => {})
    client.pipe(upstream)
    upstream.on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
    upstream.on('data', (chunk: Buffer) => {
      if (dies && chunk.subarray(-READY.length).equals(READY)) {
        ended += 1
        client.end(Buffer.concat([chunk, shutDown()]))
        upstream.destroy()
      } else client.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    get ended() {
      return ended
    },
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test.skipIf(!(await serverAnswers()))(
  'a connection that dies in the moment it is lent does not end the process',
  async () => {
    await using database = await testDatabase()
    await using first = postgres({ pool: database.pool, schema: database.schema })
    await first.open()
    await using server = await dyingServer(3)
    const url = new URL(serverUrl)
    url.port = String(server.port)
    const pool = new Pool({ connectionString: url.href })
    const relayPool = new Pool({ connectionString: url.href })
    const store = postgres({ pool, relayPool, schema: database.schema, migrate: 'off' })
    const claim = () => store.outbox.claim({ limit: 1, claimMs: 1000, token: newToken() })
    // An error event without a listener would be an uncaught exception here.
    await expect(claim()).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    await expect(claim()).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    await expect(
      store.unitOfWork(async (tx) => void (await tx.query('select 1'))),
    ).rejects.toThrow()
    expect(server.ended).toBe(3)
    await expect(claim()).resolves.toEqual([])
    await store[Symbol.asyncDispose]()
    await Promise.all([pool.end(), relayPool.end()])
  },
)
