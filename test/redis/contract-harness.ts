import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { createClient } from '@redis/client'
import type { Transport } from '../../src/core/transport.ts'
import { redis, type RedisOptions, type RedisTransport } from '../../src/redis.ts'
import type { TransportHarness } from '../../src/testing/index.ts'

/** After this time what a killed consumer held comes to another one. */
const HOLD_MS = 1000

/** For the transport suite, on this server. */
export function redisHarness(url: string, options: RedisOptions = {}): TransportHarness {
  const prefix = `t${randomUUID().slice(0, 8)}`
  const opened = new Map<Transport, { destroy(): void }[]>()
  const open = (): RedisTransport => {
    const clients: { destroy(): void }[] = []
    const transport = redis({
      connect: async () => {
        const client = createClient({ url, socket: { reconnectStrategy: false } })
        client.on('error', () => {})
        clients.push(await client.connect())
        return client
      },
      prefix,
      visibilityMs: HOLD_MS,
      logger: false,
      ...options,
    })
    opened.set(transport, clients)
    return transport
  }
  return {
    open: () => Promise.resolve(open()),
    orderPerKey: 'when-asked',
    name: (label) => `${prefix}.${label}`,
    elapse: (ms) => wait(ms),
    crash: async (transport) => {
      for (const client of opened.get(transport) ?? []) client.destroy()
      await transport[Symbol.asyncDispose]()
      await wait(HOLD_MS)
    },
    deadLetters: (queue) => open().deadLettersOf(queue),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...opened.keys()].map((transport) => transport[Symbol.asyncDispose]()))
    },
  }
}
