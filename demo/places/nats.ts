/** NATS JetStream: streams whose names begin alike. They are deleted at the end. */
import { randomBytes } from 'node:crypto'
import {
  jetstreamManager,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  type StoredMsg,
} from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { nats } from '../../src/nats.ts'
import { natsProblem, openPrivateNats } from '../../scripts/servers/nats.ts'
import { type QueueName, StudentRegistered, queues } from '../plan.ts'
import {
  type BrokerMessage,
  type DemoBroker,
  GREET_MS,
  type ServerKind,
  messageOf,
  poison,
} from './place.ts'

export const natsServer: ServerKind = {
  name: 'NATS',
  problem: natsProblem,
  variable: 'MERSAL_TEST_NATS_URL',
  option: '--nats-url',
  open: async () => {
    const server = await openPrivateNats()
    return { ...server, kill: () => server.signal('SIGKILL') }
  },
  greet: async (url) => {
    await using transport = nats({ url, connectTimeoutMs: GREET_MS, logger: false })
    await transport.operations.examine({ queues: [] })
  },
}

export async function openNats(url: string): Promise<DemoBroker> {
  const streams = `mersal-demo-${randomBytes(4).toString('hex')}`
  await using transport = nats({ url, prefix: streams, logger: false })
  for (const queue of queues)
    await transport.subscribe(queue, queue === 'registrar' ? [] : [StudentRegistered.name])
  const look = new Look(url)
  const streamOf = (queue: QueueName): string => `${streams}-queue-${queue}`
  return {
    place: { kind: 'nats', url, prefix: '', streams },
    counts: async () => ({
      events: await look.messages(streamOf('audit')),
      deadLetters: await look.messages(`${streams}-dead`),
      waiting:
        (await look.waiting(streamOf('registrar'))) + (await look.waiting(streamOf('finance'))),
    }),
    events: () => look.read(streamOf('audit')),
    deadLetters: () => look.read(`${streams}-dead`),
    disturb: (copies) => look.disturb(streamOf('audit'), `${streams}.queue.finance`, copies),
    [Symbol.asyncDispose]: () => look.remove(`${streams}-`),
  }
}

interface Open {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
}

const toMessage = ({ header, data }: StoredMsg): BrokerMessage =>
  messageOf(header.get('Mersal-Id'), data)

/** A plain NATS client, which makes its connection again after the server was away. */
class Look {
  readonly #url: string
  #open: Open | undefined

  constructor(url: string) {
    this.#url = url
  }

  async #server(): Promise<Open> {
    if (this.#open !== undefined && !this.#open.connection.isClosed()) return this.#open
    const connection = await connect({ servers: this.#url, reconnect: false })
    this.#open = { connection, manager: await jetstreamManager(connection) }
    return this.#open
  }

  async messages(stream: string): Promise<number> {
    const { manager } = await this.#server()
    return (await manager.streams.info(stream)).state.messages
  }

  async waiting(stream: string): Promise<number> {
    const { manager } = await this.#server()
    try {
      const { num_pending: unread, num_ack_pending: held } = await manager.consumers.info(
        stream,
        'mersal',
      )
      return unread + held
    } catch (error) {
      // The transport makes it again after a crash that has torn it from its stream.
      const known = error instanceof JetStreamApiError ? error.code : undefined
      if (known !== JetStreamApiCodes.ConsumerNotFound) throw error
      return await this.messages(stream)
    }
  }

  async #stored(stream: string, most = Number.MAX_SAFE_INTEGER): Promise<StoredMsg[]> {
    const { manager } = await this.#server()
    const { state } = await manager.streams.info(stream)
    const found: StoredMsg[] = []
    for (
      let seq = Math.max(1, state.first_seq);
      seq <= state.last_seq && found.length < most;
      seq++
    ) {
      const stored = await manager.streams.getMessage(stream, { seq })
      if (stored !== null) found.push(stored)
    }
    return found
  }

  async read(stream: string): Promise<BrokerMessage[]> {
    return (await this.#stored(stream)).map(toMessage)
  }

  async disturb(from: string, to: string, copies: number): Promise<number> {
    const { manager } = await this.#server()
    const stream = manager.jetstream()
    const wire = headers()
    wire.set('Mersal-Id', poison.id)
    wire.set('Mersal-Type', poison.type)
    await stream.publish(to, poison.body, { headers: wire })
    const delivered = await this.#stored(from, copies)
    for (const { header, data } of delivered) {
      // JetStream would not store a second message with this.
      header.delete('Nats-Msg-Id')
      await stream.publish(to, data, { headers: header })
    }
    return delivered.length
  }

  async remove(prefix: string): Promise<void> {
    const { manager, connection } = await this.#server()
    for await (const name of manager.streams.names())
      if (name.startsWith(prefix)) await manager.streams.delete(name)
    await connection.close()
  }
}
