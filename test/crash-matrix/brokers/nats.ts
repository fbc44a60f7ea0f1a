import type { StreamInfo } from '@nats-io/jetstream'
import { plainClient } from '../../nats/plain-client.ts'
import { openPrivateNats } from '../../nats/server.ts'
import type { CellBroker, Names } from './broker.ts'
import { openNats } from './open.ts'
import { type Seen, streamCells } from './streams.ts'

/** Streams as docs/nats.md names them; each cell has a prefix of its own. */
const streamOf = ({ queue }: Names, kind: 'queue' | 'dead', name: string): string =>
  kind === 'dead' ? `${queue}-dead` : `${queue}-queue-${name.replaceAll('.', '~')}`

/** A NATS of its own. */
export async function openNatsCells(): Promise<CellBroker> {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await openPrivateNats())
  const client = stack.use(await plainClient(server.url))
  const { streams } = client.manager
  const info = (stream: string): Promise<StreamInfo | undefined> =>
    streams.info(stream).catch(() => undefined)
  const read = async (...place: Parameters<typeof streamOf>): Promise<readonly Seen[]> => {
    const stream = streamOf(...place)
    if ((await info(stream)) === undefined) return []
    return (await client.read(stream)).map(({ headers, body }) => ({
      id: headers['Mersal-Id'] ?? '',
      type: headers['Mersal-Type'] ?? '',
      body,
    }))
  }
  return streamCells({
    url: server.url,
    versions: { NATS: client.connection.info?.version ?? '?' },
    open: ({ queue }) => openNats(server.url, queue),
    read,
    waiting: async (names) =>
      (await streams.info(streamOf(names, 'queue', names.queue))).state.messages,
    rest: async (names) =>
      (await read(names, 'queue', names.queue)).map(({ id }) => `message ${id}`),
    drop: ({ queue }) => client.removeAll(queue),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  })
}
