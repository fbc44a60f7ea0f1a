import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'

/** A message as a client without anything of ours finds it. */
export interface PlainMessage {
  readonly subject: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** A look at the server without anything of ours. */
export interface PlainClient extends AsyncDisposable {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  /** Reads everything that a stream holds, and leaves it there. */
  read(stream: string): Promise<readonly PlainMessage[]>
  /** Deletes the streams whose names begin so. */
  removeAll(prefix: string): Promise<void>
}

export async function plainClient(url: string): Promise<PlainClient> {
  const { host, username, password } = new URL(url)
  const login = username === '' ? {} : { user: username, pass: decodeURIComponent(password) }
  const connection = await connect({ servers: host, reconnect: false, ...login })
  const manager = await jetstreamManager(connection)
  return {
    connection,
    manager,
    async read(stream) {
      const { state } = await manager.streams.info(stream)
      const messages: PlainMessage[] = []
      for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
        const stored = await manager.streams.getMessage(stream, { seq })
        if (stored === null) continue
        const headers = Object.fromEntries(
          stored.header.keys().map((name) => [name, stored.header.get(name)]),
        )
        messages.push({ subject: stored.subject, headers, body: stored.data })
      }
      return messages
    },
    async removeAll(prefix) {
      for await (const name of manager.streams.names())
        if (name.startsWith(`${prefix}-`)) await manager.streams.delete(name)
    },
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

/** Ends the connection as if the process had been killed: without a word. */
export function cut(connection: NatsConnection): void {
  const { protocol } = connection as unknown as {
    protocol: { transport: { socket: { destroy(): void } } }
  }
  protocol.transport.socket.destroy()
}
