import { plainClient, type PlainClient, type PlainMessage } from '../../kafka/plain-client.ts'
import { openPrivateKafka } from '../../kafka/server.ts'
import { CONSUMER, headers, PARTITIONS, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import { openProxy } from '../proxy.ts'
import {
  type BrokerSide,
  type ClusterPlace,
  openClusterPlace,
  type PlaceOptions,
} from './cluster.ts'
import type { Arrival } from './place.ts'

/** PostgreSQL and Kafka. */
export interface KafkaPlace extends ClusterPlace {
  readonly kafka: KafkaSide
}

/** A Kafka that may be killed, and what only operators do with it. */
export interface KafkaSide extends BrokerSide {
  /** Past the proxy. */
  plainly<Result>(task: (client: PlainClient) => Promise<Result>): Promise<Result>
}

/** Topics as docs/kafka.md names them, written down here a second time. */
export const logs = {
  tap: `mersal.queue.${TAP}`,
  consumer: `mersal.queue.${CONSUMER}`,
  dead: `mersal.dead.${CONSUMER}`,
  subscriptions: 'mersal.topics',
} as const

const users = 'org.apache.kafka.common.security.scram.ScramLoginModule required'

async function openKafka(password: string): Promise<KafkaSide> {
  const login = { name: 'chaos', password }
  const stack = new AsyncDisposableStack()
  try {
    // Brokers tell their clients where to connect.
    const proxy = stack.use(await openProxy(0))
    const server = await openPrivateKafka({
      advertised: proxy.port,
      hasInside: true,
      protocol: 'SASL_PLAINTEXT',
      scram: login,
      config: [
        'group.initial.rebalance.delay.ms=0',
        'inter.broker.listener.name=INSIDE',
        'sasl.enabled.mechanisms=SCRAM-SHA-512',
        `listener.name.clients.scram-sha-512.sasl.jaas.config=${users};`,
      ],
    })
    stack.use(server)
    proxy.leadTo(server.port)
    const plainly: KafkaSide['plainly'] = async (task) => {
      await using client = await plainClient(server.inside)
      return await task(client)
    }
    return {
      server,
      proxy,
      url: `kafka://127.0.0.1:${server.port}`,
      login,
      versions: { Kafka: server.version },
      plainly,
      async prepare({ kafka }) {
        if (kafka === undefined) throw new Error('this build has no transport for Kafka')
        await using transport = kafka.kafka({
          url: `kafka://${login.name}:${password}@127.0.0.1:${proxy.port}`,
          partitions: PARTITIONS,
        })
        await transport.subscribe(CONSUMER, [topics.booked])
        await transport.subscribe(TAP, Object.values(topics))
      },
      arrivals: async () => (await plainly((client) => client.all(logs.tap))).map(arrivalOf),
      letters: async () =>
        (await plainly((client) => client.all(logs.dead))).map((message) => ({
          id: message.headers['mersal-id'] ?? '',
          text: JSON.stringify(message.headers),
        })),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

/** From a topic that nobody consumes. */
function arrivalOf({ headers: all, body }: PlainMessage): Arrival {
  return {
    id: all['mersal-id'] ?? '',
    topic: all['mersal-type'] ?? '',
    publish: all[headers.publish] ?? '',
    digest: digestOf(
      (JSON.parse(Buffer.from(body ?? []).toString() || '{}') as { text: string }).text,
    ),
    note: all[headers.note] ?? '',
  }
}

export async function openKafkaPlace(options: PlaceOptions): Promise<KafkaPlace> {
  const [place, kafka] = await openClusterPlace('kafka', openKafka, options)
  return { ...place, kafka }
}
