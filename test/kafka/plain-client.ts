import { Admin, Consumer, type Message, Producer } from '@platformatic/kafka'

const EARLIEST = -2n
const LATEST = -1n

/** A message as a client without anything of ours finds it. */
export interface PlainMessage {
  readonly partition: number
  readonly offset: number
  /** In milliseconds since the Unix epoch; -1: it has none. */
  readonly timestamp: number
  readonly key: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** Null: it takes away what had its key before. */
  readonly body: Uint8Array | null
}

/** A look at the broker without anything of ours. */
export interface PlainClient extends AsyncDisposable {
  readonly admin: Admin
  /** Adds a message to a topic. */
  write(
    topic: string,
    message: Pick<PlainMessage, 'headers' | 'body'> & { readonly key?: string },
  ): Promise<void>
  /** Reads everything that a topic holds, and leaves it there. */
  read(topic: string, count: number): Promise<readonly PlainMessage[]>
  /** Everything that a topic holds now; nothing if there is none. */
  all(topic: string): Promise<readonly PlainMessage[]>
  /** Deletes the topics whose names begin so. */
  removeAll(prefix: string): Promise<void>
}

function plain({ partition, offset, timestamp, key, headers, value }: Message): PlainMessage {
  return {
    partition,
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: key?.toString(),
    headers: Object.fromEntries([...headers].map(([name, text]) => [String(name), String(text)])),
    body: value,
  }
}

export async function plainClient(server: string): Promise<PlainClient> {
  const options = { clientId: 'plain', bootstrapBrokers: [server] }
  const admin = new Admin(options)
  const consumerOf = (): Consumer =>
    new Consumer({ ...options, groupId: `plain-${crypto.randomUUID()}` })
  const endsOf = async (topic: string): Promise<number> => {
    const consumer = consumerOf()
    const at = async (timestamp: bigint): Promise<readonly bigint[]> =>
      (await consumer.listOffsets({ topics: [topic], timestamp })).get(topic) ?? []
    const [first, last] = [await at(EARLIEST), await at(LATEST)]
    await consumer.close(true)
    return last.reduce((sum, end, index) => sum + Number(end - (first[index] ?? 0n)), 0)
  }
  const client: PlainClient = {
    admin,
    async all(topic) {
      if (!(await admin.listTopics()).includes(topic)) return []
      const count = await endsOf(topic)
      return count === 0 ? [] : client.read(topic, count)
    },
    async write(topic, { key, headers, body }) {
      const producer = new Producer(options)
      const value = {
        ...(key === undefined ? {} : { key: Buffer.from(key) }),
        ...(body === null ? {} : { value: Buffer.from(body) }),
      }
      const named = Object.entries(headers).map(
        ([name, text]) => [Buffer.from(name), Buffer.from(text)] as const,
      )
      await producer.send({ messages: [{ topic, ...value, headers: new Map(named) }] })
      await producer.close()
    },
    async read(topic, count) {
      const consumer = consumerOf()
      const stream = await consumer.consume({
        topics: [topic],
        mode: 'earliest',
        autocommit: false,
      })
      const found: PlainMessage[] = []
      for await (const message of stream) {
        found.push(plain(message))
        if (found.length >= count) break
      }
      await stream.close()
      await consumer.close(true)
      return found
    },
    async removeAll(prefix) {
      const topics = await admin.listTopics()
      const ours = topics.filter((topic) => topic.startsWith(`${prefix}.`))
      if (ours.length > 0) await admin.deleteTopics({ topics: ours })
    },
    [Symbol.asyncDispose]: () => admin.close(),
  }
  return client
}
