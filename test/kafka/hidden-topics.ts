import { systemClock } from '../../src/lib/async/clock.ts'
import type { KafkaOptions } from '../../src/kafka.ts'
import { kafkaClient } from '../../src/transports/kafka/connection/client.ts'
import type { Cluster } from '../../src/transports/kafka/connection/cluster.ts'
import { kafkaSettings } from '../../src/transports/kafka/options.ts'
import { Producer } from '../../src/transports/kafka/publish/producer.ts'
import { Publisher } from '../../src/transports/kafka/publish/publisher.ts'
import { type Names, namesOf } from '../../src/transports/kafka/topology/names.ts'
import { Topology } from '../../src/transports/kafka/topology/topology.ts'
import { describer } from '../../src/transports/shared/describe.ts'
import { Link } from '../../src/transports/shared/link.ts'
import { OwnQueues } from '../../src/transports/shared/own-queues.ts'
import { Pace } from '../../src/transports/shared/pace.ts'

export interface HiddenTopics extends AsyncDisposable {
  readonly publisher: Publisher
  readonly producer: Producer
  readonly names: Names
  /** The broker does not know these: as one that has just started, and has not caught up. */
  readonly hidden: Set<string>
}

/** The publishing half of the transport over a real broker that may not know all of its topics. */
export function withHiddenTopics(options: KafkaOptions): HiddenTopics {
  const settings = kafkaSettings({ ...options, logger: false })
  const describe = describer([])
  const hidden = new Set<string>()
  const client = kafkaClient(settings, describe)
  const open = async (): Promise<Cluster> => {
    const cluster = await client.open()
    const look = cluster.topics.bind(cluster)
    cluster.topics = async (names, fresh) =>
      new Map([...(await look(names, fresh))].filter(([name]) => !hidden.has(name)))
    return cluster
  }
  const { logger } = settings
  const shared = { logger, clock: systemClock, random: Math.random }
  const link = new Link({
    broker: 'Kafka',
    purpose: 'publishing',
    client: { ...client, open },
    pace: new Pace(systemClock, Math.random),
    timeoutMs: settings.connectTimeoutMs,
    describe,
    ...shared,
  })
  const names = namesOf(settings.prefix)
  const producer = new Producer(link, settings, describe)
  const topology = new Topology(link, settings, describe, names, (one) => producer.store(one))
  const pause = { firstMs: 100, longestMs: 1000 }
  const own = new OwnQueues({ maker: topology, declares: true, pause, ...shared })
  const publisher = new Publisher(link, producer, topology, own, settings)
  return {
    publisher,
    producer,
    names,
    hidden,
    [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
  }
}
