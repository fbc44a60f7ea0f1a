import type { StreamInfo } from '@nats-io/jetstream'
import { plainClient, type PlainMessage } from '../../nats/plain-client.ts'
import { openPrivateNats } from '../../nats/server.ts'
import type { Copy } from '../audit.ts'
import { partOf } from '../databases/database.ts'
import { NOWHERE, topics } from '../plan.ts'
import type { CellBroker, Names } from './broker.ts'
import { openNats } from './open.ts'

const tapOf = ({ queue }: Names): string => `${queue}.tap`
const nowhereOf = ({ queue }: Names): string => `${queue}.${NOWHERE}`

/** Streams as docs/nats.md names them; each cell has a prefix of its own. */
const streamOf = ({ queue }: Names, name: string): string =>
  `${queue}-queue-${name.replaceAll('.', '~')}`
const lettersOf = ({ queue }: Names): string => `${queue}-dead`

/** A NATS of its own. Looking takes nothing out of a stream. */
export async function openNatsCells(): Promise<CellBroker> {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await openPrivateNats())
  const client = stack.use(await plainClient(server.url))
  const { streams } = client.manager
  const info = (stream: string): Promise<StreamInfo | undefined> =>
    streams.info(stream).catch(() => undefined)
  const read = async (stream: string): Promise<readonly PlainMessage[]> =>
    (await info(stream)) === undefined ? [] : client.read(stream)
  const idOf = ({ headers }: PlainMessage): string => headers['Mersal-Id'] ?? ''
  return {
    url: server.url,
    versions: { NATS: client.connection.info?.version ?? '?' },
    async prepare(names) {
      await using transport = openNats(server.url, names.queue)
      await transport.subscribe(names.queue, [topics.registered])
      await transport.subscribe(tapOf(names), [topics.registered, topics.billed])
    },
    async putRight(names) {
      await using transport = openNats(server.url, names.queue)
      await transport.subscribe(nowhereOf(names), [])
    },
    letters: async (names) => new Set((await read(lettersOf(names))).map(idOf)).size,
    waiting: async (names) => (await streams.info(streamOf(names, names.queue))).state.messages,
    async left(names) {
      const [tap, dead, nowhere, rest] = [
        await read(streamOf(names, tapOf(names))),
        await read(lettersOf(names)),
        await read(streamOf(names, nowhereOf(names))),
        await read(streamOf(names, names.queue)),
      ]
      return {
        tap: tap.map(
          (message): Copy => ({
            id: idOf(message),
            topic: message.headers['Mersal-Type'] ?? '',
            ...partOf(message.body),
          }),
        ),
        nowhere: nowhere.map(({ body }) => partOf(body)),
        deadIncoming: dead.map(({ body }) => partOf(body)),
        left: rest.map((message) => `message ${idOf(message)} in ${message.subject}`),
      }
    },
    drop: ({ queue }) => client.removeAll(queue),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
