import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { type ChannelModel, connect } from 'amqplib'
import type { Transport } from '../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../src/rabbitmq.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { cut } from './plain-client.ts'

/** For the transport suite, on this vhost. `dressed`: puts something around each transport. */
export function rabbitHarness(
  url: string,
  options: RabbitOptions = {},
  dressed: (transport: RabbitTransport) => Transport = (transport) => transport,
): TransportHarness {
  const prefix = randomUUID().slice(0, 8)
  const opened = new Map<Transport, ChannelModel[]>()
  const open = (models: ChannelModel[]): RabbitTransport =>
    rabbitmq({
      connect: async () => {
        const model = await connect(url, { noDelay: true })
        models.push(model)
        return model
      },
      eventsExchange: `${prefix}.events`,
      maxMessageBytes: 2_000_000,
      logger: false,
      // No broker is killed here.
      newQueuePauseMs: 0,
      // Each is several durable queues; all queues of the broker share its open files.
      partitions: 3,
      ...options,
    })
  const kept = <Kept extends Transport>(transport: Kept, models: ChannelModel[]): Kept => {
    opened.set(transport, models)
    return transport
  }
  return {
    open() {
      const models: ChannelModel[] = []
      return Promise.resolve(kept(dressed(open(models)), models))
    },
    orderPerKey: 'when-asked',
    name: (label) => `${prefix}.${label}`,
    elapse: (ms) => wait(ms),
    crash: async (transport) => {
      opened.get(transport)?.forEach(cut)
      await transport[Symbol.asyncDispose]()
    },
    deadLetters: (queue) => kept(open([]), []).deadLettersOf(queue),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...opened.keys()].map((transport) => transport[Symbol.asyncDispose]()))
    },
  }
}
