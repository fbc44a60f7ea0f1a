import { plainClient, type PlainClient, type PlainMessage } from '../../kafka/plain-client.ts'
import { openPrivateKafka } from '../../kafka/server.ts'
import type { CellBroker, Names } from './broker.ts'
import { kafkaPrefix, openKafka } from './open.ts'
import { streamCells } from './streams.ts'

/** Topics as docs/kafka.md names them; each cell has a prefix of its own. */
const topicOf = ({ queue }: Names, kind: 'queue' | 'retry' | 'dead', name: string): string =>
  `${kafkaPrefix(queue)}.${kind}.${name.replaceAll('_', '_5f')}`

/** What nobody has taken away: a later record with the same key replaces one. */
function living(records: readonly PlainMessage[]): readonly PlainMessage[] {
  const found = new Map<string | undefined, PlainMessage>()
  for (const record of records) {
    found.delete(record.key)
    if (record.body !== null) found.set(record.key, record)
  }
  return [...found.values()]
}

/** Places at and behind the one that the group of the consumer has committed. */
async function behind({ admin }: PlainClient, names: Names): Promise<readonly string[]> {
  const group = topicOf(names, 'queue', names.queue)
  const there = await admin.listTopics()
  const topics = [group, topicOf(names, 'retry', names.queue)].filter((one) => there.includes(one))
  const [committed] = await admin.listConsumerGroupOffsets({ groups: [group] })
  const at = new Map<string, bigint>()
  for (const { name, partitions } of committed?.topics ?? [])
    for (const { partitionIndex, committedOffset } of partitions)
      at.set(`${name} ${partitionIndex}`, committedOffset)
  const partitions = [0, 1].map((partitionIndex) => ({ partitionIndex, timestamp: -1n }))
  const ends = await admin.listOffsets({ topics: topics.map((name) => ({ name, partitions })) })
  return ends.flatMap(({ name, partitions: all }) =>
    all.flatMap(({ partitionIndex, offset }) => {
      const place = `${name} ${partitionIndex}`
      const from = at.get(place) ?? 0n
      return Array.from({ length: Number(offset - from) }, (_, n) => `${place} ${from + BigInt(n)}`)
    }),
  )
}

/** A Kafka of its own. */
export async function openKafkaCells(): Promise<CellBroker> {
  const stack = new AsyncDisposableStack()
  const config = ['group.initial.rebalance.delay.ms=0']
  const { server, version } = stack.use(await openPrivateKafka({ config }))
  const client = stack.use(await plainClient(server))
  return streamCells({
    url: server,
    versions: { Kafka: version },
    open: ({ queue }) => openKafka(server, queue),
    async read(names, kind, queue) {
      const records = await client.all(topicOf(names, kind, queue))
      return (kind === 'dead' ? living(records) : records).map(({ headers, body }) => ({
        id: headers['mersal-id'] ?? '',
        type: headers['mersal-type'] ?? '',
        body: body ?? new Uint8Array(),
      }))
    },
    waiting: async (names) => (await behind(client, names)).length,
    rest: async (names) => (await behind(client, names)).map((place) => `a message at ${place}`),
    drop: ({ queue }) => client.removeAll(kafkaPrefix(queue)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  })
}
