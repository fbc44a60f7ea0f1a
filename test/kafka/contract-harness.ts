import { randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as wait } from 'node:timers/promises'
import type { Connection } from '@platformatic/kafka'
import type { Transport } from '../../src/core/transport.ts'
import { kafka, type KafkaOptions, type KafkaTransport } from '../../src/kafka.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { plainClient } from './plain-client.ts'

/** After this time the broker gives what a killed consumer held to another one. */
const SESSION_MS = process.env['MERSAL_TEST_KAFKA_URL'] === undefined ? 1000 : 45_000

/** For the transport suite, on this broker. */
export function kafkaHarness(
  server: string,
  options: Partial<KafkaOptions> = {},
): TransportHarness {
  const prefix = `t${randomUUID().slice(0, 8)}`
  const opened = new Map<Transport, string>()
  const sockets = new Map<string, Connection[]>()
  const created = (message: unknown): void => {
    const { type, instance } = message as { type: string; instance: Connection }
    if (type !== 'connection') return
    // A plain client, which has no name from this harness.
    const name = (instance.context as { readonly clientId: string } | undefined)?.clientId
    if (name === undefined) return
    sockets.set(name, [...(sockets.get(name) ?? []), instance])
  }
  subscribe('plt:kafka:instances', created)
  const open = (): KafkaTransport => {
    const clientId = `c${randomUUID().slice(0, 8)}`
    const transport = kafka({
      bootstrapServers: server,
      prefix,
      clientId,
      // As many as the suite has consumers of one queue.
      partitions: 2,
      sessionTimeoutMs: SESSION_MS,
      logger: false,
      ...options,
    })
    opened.set(transport, clientId)
    return transport
  }
  return {
    open: () => Promise.resolve(open()),
    orderPerKey: 'never',
    name: (label) => `${prefix}.${label}`,
    elapse: (ms) => wait(ms),
    crash: async (transport) => {
      for (const { socket } of sockets.get(opened.get(transport) ?? '') ?? []) socket?.destroy()
      await transport[Symbol.asyncDispose]()
      await wait(SESSION_MS + 500)
    },
    deadLetters: (queue) => open().deadLettersOf(queue),
    [Symbol.asyncDispose]: async () => {
      unsubscribe('plt:kafka:instances', created)
      await Promise.all([...opened.keys()].map((transport) => transport[Symbol.asyncDispose]()))
      await using plain = await plainClient(server)
      await plain.removeAll(prefix)
    },
  }
}
