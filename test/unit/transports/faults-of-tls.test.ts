import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import type { Transport } from '../../../src/core/transport.ts'
import { kafka } from '../../../src/kafka.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { redis } from '../../../src/redis.ts'
import { describer } from '../../../src/transports/shared/describe.ts'

/** A port without TLS. */
async function plainServer() {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

test.each<[field: string, open: (server: string) => Transport]>([
  ['rabbitmq.tls', (server) => rabbitmq({ url: `amqps://${server}`, logger: false })],
  [
    'nats.tls',
    (server) => nats({ url: `tls://${server}`, tls: { handshakeFirst: true }, logger: false }),
  ],
  ['kafka.tls', (server) => kafka({ bootstrapServers: server, tls: true, logger: false })],
  ['redis.tls', (server) => redis({ url: `rediss://${server}`, logger: false })],
])('%s is named where the port speaks no TLS, with the reason in one line', async (field, open) => {
  await using server = await plainServer()
  await using transport = open(server.address)
  const error: unknown = await transport.subscribe('q', []).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS', details: { field } })
  expect((error as Error).message).toMatch(
    /^[^\n]*no secure connection[^\n]*wrong version number[^\n]*$/,
  )
})

test('the text of an error tells its causes, once each, and no secret of them', () => {
  const cause = new Error('connect ECONNREFUSED amqp://shop:s3cret@127.0.0.1:1\n')
  const error = new Error('Connection to 127.0.0.1:1 failed.', { cause })
  expect(describer(['s3cret'])(error)).toBe(
    'Connection to 127.0.0.1:1 failed: connect ECONNREFUSED amqp://***@127.0.0.1:1',
  )
  const both = new AggregateError([error, new Error('no route', { cause: 'none' })], '')
  expect(describer([])(both)).toMatch(/failed: connect .*, no route$/)
  expect(describer([])(new Error('lost: closed', { cause: new Error('closed') }))).toBe(
    'lost: closed',
  )
})

test('the text of an error that is its own cause comes to an end', () => {
  const error = new Error('again')
  error.cause = new Error('and', { cause: error })
  expect(describer([])(error).length).toBeLessThan(100)
})
