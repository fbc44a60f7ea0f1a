import { redisCli, streamOf } from '../../redis/plain-client.ts'
import { openPrivateRedis } from '../../redis/server.ts'
import type { CellBroker, Names } from './broker.ts'
import { openRedis } from './open.ts'
import { type Seen, streamCells } from './streams.ts'

/** Keys as docs/redis.md names them; each cell has a prefix of its own. */
const keyOf = ({ queue }: Names, kind: 'queue' | 'dead' | 'due' | 'state', name: string): string =>
  `{${queue}}:${kind}:${name}`

/** A Redis of its own, which has written to its disk what it confirms. */
export async function openRedisCells(): Promise<CellBroker> {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await openPrivateRedis({ fsync: 'always' }))
  const { url } = server
  const cli = (...args: readonly string[]): Promise<unknown> => redisCli(url, ...args)
  const read = async (...place: Parameters<typeof keyOf>): Promise<readonly Seen[]> =>
    (await streamOf(url, keyOf(...place))).map(({ id = '', type = '', body = '' }) => ({
      id,
      type,
      body: Buffer.from(body),
    }))
  const { version } = (await cli('HELLO', '3')) as { readonly version: string }
  return streamCells({
    url,
    versions: { Redis: version },
    open: ({ queue }) => openRedis(url, queue),
    read,
    waiting: async (names) => Number(await cli('XLEN', keyOf(names, 'queue', names.queue))),
    async rest(names) {
      const messages = await read(names, 'queue', names.queue)
      // Of what was delivered something is known as long as it is there, and no longer.
      const records =
        Number(await cli('ZCARD', keyOf(names, 'due', names.queue))) +
        Number(await cli('HLEN', keyOf(names, 'state', names.queue)))
      return [
        ...messages.map(({ id }) => `message ${id}`),
        ...(records === 0 ? [] : [`${records} records of messages`]),
      ]
    },
    async drop({ queue }) {
      const keys = (await cli('KEYS', `{${queue}}:*`)) as readonly string[]
      if (keys.length > 0) await cli('DEL', ...keys)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  })
}
