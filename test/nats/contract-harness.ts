import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Transport } from '../../src/core/transport.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../src/nats.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { cut, plainClient } from './plain-client.ts'

/** After this time JetStream gives what a killed consumer held to another one. */
const ACK_WAIT_MS = 1000

/** For the transport suite, on this server. */
export function natsHarness(url: string, options: NatsOptions = {}): TransportHarness {
  const prefix = `t${randomUUID().slice(0, 8)}`
  const opened = new Map<Transport, NatsConnection[]>()
  const open = (): NatsTransport => {
    const connections: NatsConnection[] = []
    const transport = nats({
      connect: async () => {
        const connection = await connect({ servers: url, reconnect: false })
        connections.push(connection)
        return connection
      },
      prefix,
      ackWaitMs: ACK_WAIT_MS,
      logger: false,
      ...options,
    })
    opened.set(transport, connections)
    return transport
  }
  return {
    open: () => Promise.resolve(open()),
    orderPerKey: 'when-asked',
    name: (label) => `${prefix}.${label}`,
    elapse: (ms) => wait(ms),
    crash: async (transport) => {
      opened.get(transport)?.forEach(cut)
      await transport[Symbol.asyncDispose]()
      await wait(ACK_WAIT_MS)
    },
    deadLetters: (queue) => open().deadLettersOf(queue),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...opened.keys()].map((transport) => transport[Symbol.asyncDispose]()))
      await using plain = await plainClient(url)
      await plain.removeAll(prefix)
    },
  }
}
