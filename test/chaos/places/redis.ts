import { redisCli, streamOf } from '../../redis/plain-client.ts'
import { openPrivateRedis, type PrivateRedis } from '../../redis/server.ts'
import { CONSUMER, headers, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import {
  type BrokerSide,
  type ClusterPlace,
  openClusterPlace,
  type PlaceOptions,
} from './cluster.ts'
import type { Arrival } from './place.ts'

/** PostgreSQL and Redis, which has written to its disk what it confirms. */
export interface RedisPlace extends ClusterPlace {
  readonly redis: RedisSide
}

/** A Redis that may be killed, and what only operators do with it. */
export interface RedisSide extends BrokerSide {
  readonly server: PrivateRedis
  /** Past the proxy. Rejects on an error of the server as well. */
  readonly cli: (...args: readonly string[]) => Promise<unknown>
}

/** Keys as docs/redis.md names them, written down here a second time. */
export const keys = {
  queues: '{mersal}:queues',
  subscribers: `{mersal}:topic:${topics.booked}`,
  subscriptions: `{mersal}:topics:${CONSUMER}`,
  stream: `{mersal}:queue:${CONSUMER}`,
  due: `{mersal}:due:${CONSUMER}`,
  state: `{mersal}:state:${CONSUMER}`,
  dead: `{mersal}:dead:${CONSUMER}`,
  tap: `{mersal}:queue:${TAP}`,
} as const

async function openRedis(password: string): Promise<RedisSide> {
  const server = await openPrivateRedis({ fsync: 'always', password })
  const { url } = server
  const cli: RedisSide['cli'] = (...args) => redisCli(url, ...args)
  const { version } = (await cli('HELLO', '3')) as { readonly version: string }
  return {
    server,
    url,
    login: { name: 'default', password },
    versions: { Redis: version },
    cli,
    async prepare({ redis }) {
      if (redis === undefined) throw new Error('this build has no transport for Redis')
      await using transport = redis.redis({ url })
      await transport.subscribe(CONSUMER, [topics.booked])
      await transport.subscribe(TAP, Object.values(topics))
    },
    arrivals: async () => (await streamOf(url, keys.tap)).map(arrivalOf),
    letters: async () =>
      (await streamOf(url, keys.dead)).map(({ body: _, ...fields }) => ({
        id: fields['id'] ?? '',
        text: JSON.stringify(fields),
      })),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** From a stream that nobody consumes. */
function arrivalOf(fields: Readonly<Record<string, string>>): Arrival {
  const all = JSON.parse(fields['headers'] ?? '{}') as Record<string, string>
  return {
    id: fields['id'] ?? '',
    topic: fields['type'] ?? '',
    publish: all[headers.publish] ?? '',
    digest: digestOf((JSON.parse(fields['body'] ?? '{}') as { text: string }).text),
    note: all[headers.note] ?? '',
  }
}

export async function openRedisPlace(options: PlaceOptions): Promise<RedisPlace> {
  const [place, redis] = await openClusterPlace('redis', openRedis, options)
  return { ...place, redis }
}
