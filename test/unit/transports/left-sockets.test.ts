import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Transport } from '../../../src/core/transport.ts'
import { kafka } from '../../../src/kafka.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { redis } from '../../../src/redis.ts'

interface Given {
  readonly server: string
  readonly connectTimeoutMs: number
}

const transports: Readonly<Record<string, (given: Given) => Transport>> = {
  RabbitMQ: ({ server, ...times }) =>
    rabbitmq({ url: `amqp://${server}`, ...times, logger: false }),
  NATS: ({ server, ...times }) => nats({ url: `nats://${server}`, ...times, logger: false }),
  Kafka: ({ server, ...times }) => kafka({ bootstrapServers: server, ...times, logger: false }),
  Redis: ({ server, ...times }) => redis({ url: `redis://${server}`, ...times, logger: false }),
}

/** Takes connections and never says a word, as a broker that is frozen. */
async function silentServer() {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    // Else the end of the other side is not seen.
    socket.resume()
    server.emit('connected')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    server: `127.0.0.1:${port}`,
    open,
    connected: () => once(server, 'connected'),
    async allGone() {
      for (const socket of open) await once(socket, 'close')
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe.each(Object.entries(transports))('%s that takes connections and is silent', (_, open) => {
  test('P11: an attempt to connect ends with the transport, not with its time limit', {
    timeout: 5000,
  }, async () => {
    await using silent = await silentServer()
    const transport = open({ server: silent.server, connectTimeoutMs: 60_000 })
    const [subscribed] = await Promise.all([
      transport.subscribe('q', []).catch((error: unknown) => error),
      silent.connected().then(() => transport[Symbol.asyncDispose]()),
    ])
    expect(subscribed).toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    await silent.allGone()
  })

  test('P10: an attempt whose time is over leaves no socket behind', {
    timeout: 5000,
  }, async () => {
    await using silent = await silentServer()
    await using transport = open({ server: silent.server, connectTimeoutMs: 100 })
    await expect(transport.subscribe('q', [])).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    await silent.allGone()
  })
})
