import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { connect as natsConnect, type NatsConnection } from '@nats-io/transport-node'
import type { BrokerClient, Link, Live } from '../../shared/link.ts'
import type { NatsSettings } from '../options.ts'
import type { Describe } from '../../shared/describe.ts'
import { checkConnected } from '../../shared/settings.ts'
import { checkServer, mistakeOf } from './faults.ts'

/** A connection to a server that has JetStream. */
export interface Server {
  readonly client: NatsConnection
  readonly manager: JetStreamManager
}

export type NatsLink = Link<Server>
export type NatsLive = Live<Server>

function opener({
  source,
  heartbeatSeconds,
  connectTimeoutMs,
}: NatsSettings): () => Promise<NatsConnection> {
  if ('connect' in source)
    return async () => {
      const client = await source.connect()
      const what = 'a connection of @nats-io/transport-node'
      checkConnected('nats.connect', client, ['close', 'closed', 'publish', 'getServer'], what)
      return client as NatsConnection
    }
  const { address, tls } = source
  const wanted = tls ?? (address.secure ? {} : undefined)
  return () =>
    natsConnect({
      servers: [...address.servers],
      ...address.login,
      ...(wanted === undefined ? {} : { tls: wanted }),
      name: 'mersal',
      // Connecting again, at our pace and with the same checks, is up to the link.
      reconnect: false,
      timeout: connectTimeoutMs,
      pingInterval: heartbeatSeconds * 1000,
      maxPingOut: 2,
      noAsyncTraces: true,
    })
}

/** The client of NATS, as a link needs it. */
export function natsClient(settings: NatsSettings, describe: Describe): BrokerClient<Server> {
  const open = opener(settings)
  return {
    async open() {
      const client = await open()
      try {
        checkServer(client)
        const manager = await jetstreamManager(client, { timeout: settings.connectTimeoutMs })
        return { client, manager }
      } catch (error) {
        void client.close()
        throw error
      }
    },
    watch: ({ client }, events) =>
      void client.closed().then((error) => events.lost(error ?? undefined)),
    close: ({ client }) => client.close(),
    // It ends its socket at once.
    destroy: ({ client }) => void client.close(),
    mistakeIn: (error) => mistakeOf(error, describe),
  }
}
