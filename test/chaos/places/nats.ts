import { type PlainClient, plainClient } from '../../nats/plain-client.ts'
import { openPrivateNats, type PrivateNats } from '../../nats/server.ts'
import { CONSUMER, HOLD_MS, headers, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import {
  type BrokerSide,
  type ClusterPlace,
  openClusterPlace,
  type PlaceOptions,
} from './cluster.ts'
import type { Arrival } from './place.ts'

/** PostgreSQL and NATS. */
export interface NatsPlace extends ClusterPlace {
  readonly nats: NatsSide
}

/** A NATS that may be killed, and what only operators do with it. */
export interface NatsSide extends BrokerSide {
  readonly server: PrivateNats
  /** Past the proxy. */
  plainly<Result>(task: (client: PlainClient) => Promise<Result>): Promise<Result>
}

/** Streams and subjects as docs/nats.md names them, written down here a second time. */
const token = (name: string): string => name.replaceAll('.', '~')
export const streams = {
  tap: `mersal-queue-${TAP}`,
  consumer: `mersal-queue-${CONSUMER}`,
  topics: 'mersal-topics',
  dead: 'mersal-dead',
  state: 'mersal-state',
} as const
export const subscriptionOf = (topic: string, queue: string): string =>
  `mersal.topic.${token(topic)}.${queue}`

/** So short that it hides no copy. */
const WINDOW_NS = 100_000_000

async function openNats(password: string): Promise<NatsSide> {
  const login = { name: 'chaos', password }
  const server = await openPrivateNats({ user: login })
  const { url } = server
  const plainly: NatsSide['plainly'] = async (task) => {
    await using client = await plainClient(url)
    return await task(client)
  }
  return {
    server,
    url,
    login,
    versions: await plainly(({ connection }) =>
      Promise.resolve({ NATS: connection.info?.version ?? '?' }),
    ),
    plainly,
    async prepare({ nats }) {
      if (nats === undefined) throw new Error('this build has no transport for NATS')
      await using transport = nats.nats({ url, duplicateWindowMs: 100, ackWaitMs: HOLD_MS })
      await transport.subscribe(CONSUMER, [topics.booked])
      await plainly(async ({ manager }) => {
        await manager.streams.add({
          name: streams.tap,
          subjects: [`mersal.queue.${TAP}`],
          discard: 'new',
          duplicate_window: WINDOW_NS,
        })
        for (const topic of Object.values(topics))
          await manager.jetstream().publish(subscriptionOf(topic, TAP), '')
      })
    },
    arrivals: () => plainly(arrivals),
    letters: () =>
      plainly(async (client) =>
        (await client.read(streams.dead)).map((message) => ({
          id: message.headers['Mersal-Id'] ?? '',
          text: JSON.stringify(message.headers),
        })),
      ),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** From a stream that nobody consumes. */
async function arrivals(client: PlainClient): Promise<readonly Arrival[]> {
  return (await client.read(streams.tap)).map(({ headers: table, body }): Arrival => {
    const rest = JSON.parse(table['Mersal-Rest'] ?? '{}') as { headers?: Record<string, string> }
    const all = { ...table, ...rest.headers }
    return {
      id: all['Mersal-Id'] ?? '',
      topic: all['Mersal-Type'] ?? '',
      publish: all[headers.publish] ?? '',
      digest: digestOf((JSON.parse(Buffer.from(body).toString()) as { text: string }).text),
      note: all[headers.note] ?? '',
    }
  })
}

export async function openNatsPlace(options: PlaceOptions): Promise<NatsPlace> {
  const [place, nats] = await openClusterPlace('nats', openNats, options)
  return { ...place, nats }
}
