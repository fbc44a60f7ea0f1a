import { type DeadLetter, type DeadLetterBox, isDeadReason } from '../../../core/dead-letter.ts'
import { attemptsOf } from '../../../core/errors/attempts.ts'
import { CLAIM_BYTES } from '../../../core/messages/bytes.ts'
import { checkNumber } from '../../../core/options.ts'
import type { Cluster } from '../connection/cluster.ts'
import { endOf, type Place, readFrom, type StoredRecord } from '../connection/records.ts'
import { partitionOf, type Producer } from '../publish/producer.ts'
import { arrivedOf, numberOf, toHeaders } from '../publish/wire.ts'
import { checkAbsent } from '../topology/existence.ts'
import type { Topology } from '../topology/topology.ts'

interface Found {
  readonly letter: DeadLetter
  readonly offset: number
  /** By this key the topic knows it. */
  readonly own: Buffer
}

function toLetter(queue: string, record: StoredRecord): DeadLetter {
  const { envelope, own } = arrivedOf(record)
  const { key: partitionKey, reason } = own
  return {
    ...envelope,
    key: `${queue} ${record.offset}`,
    direction: 'incoming',
    place: queue,
    ...(partitionKey === undefined ? {} : { partitionKey }),
    reason: isDeadReason(reason) ? reason : 'rejected',
    error: (own.error ?? 'it was put here by somebody else, without a reason').slice(0, 2000),
    attempts: Math.max(1, numberOf(own.attempts) ?? 1),
    history: attemptsOf(own.history),
    diedAt: numberOf(own.diedAt) ?? record.timestamp,
    maybePublished: false,
    blocksKey: false,
  }
}

/** Queue and offset of a dead letter. */
function parseKey(key: string): { readonly queue: string; readonly offset: number } | undefined {
  const found = /^(\S+) (\d{1,15})$/.exec(key)
  return found === null ? undefined : { queue: found[1] as string, offset: Number(found[2]) }
}

/**
 * Dead letters of one queue, or of all: the records of a compacted topic for each queue. A later
 * record with the same key replaces an earlier one, and one without a body removes it.
 */
export class KafkaDeadLetters implements DeadLetterBox {
  readonly #topology: Topology
  readonly #producer: Producer
  readonly #queue: string | undefined

  constructor(topology: Topology, producer: Producer, queue?: string) {
    this.#topology = topology
    this.#producer = producer
    this.#queue = queue
  }

  async list(
    query: { readonly limit?: number; readonly after?: string } = {},
  ): Promise<readonly DeadLetter[]> {
    const most = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
    const after = query.after === undefined ? undefined : parseKey(query.after)
    if (query.after !== undefined && after === undefined) return []
    return this.#topology.ask('reading the dead letters', async (cluster) => {
      const letters: DeadLetter[] = []
      let bytes = 0
      for (const queue of await this.#queues(cluster)) {
        if (after !== undefined && queue < after.queue) continue
        const from = queue === after?.queue ? after.offset + 1 : 0
        const { living } = await livingIn(cluster, this.#place(queue))
        const wanted = new Set(
          [...living.values()]
            .filter((offset) => offset >= from)
            .toSorted((one, other) => one - other)
            .slice(0, most - letters.length),
        )
        await this.#read(cluster, queue, wanted, ({ letter }) => {
          letters.push(letter)
          bytes += letter.body.byteLength
          return bytes >= CLAIM_BYTES ? 'stop' : undefined
        })
        if (letters.length >= most || bytes >= CLAIM_BYTES) break
      }
      return letters
    })
  }

  retry(keys: readonly string[]): Promise<number> {
    return this.#change(keys, (cluster, found) => this.#putBack(cluster, found))
  }

  discard(keys: readonly string[]): Promise<number> {
    return this.#change(keys, () => Promise.resolve())
  }

  /** How many there are in the queue of this box. */
  async count(cluster: Cluster, queue: string): Promise<number> {
    return (await livingIn(cluster, this.#place(queue))).living.size
  }

  #place(queue: string): Place {
    return { topic: this.#topology.names.deadTopic(queue), partition: 0 }
  }

  async #queues(cluster: Cluster): Promise<readonly string[]> {
    if (this.#queue !== undefined) return [this.#queue]
    const { names } = this.#topology
    const topics = await cluster.topicNames(names.queues)
    return topics
      .map((topic) => names.queueOf(topic))
      .filter((queue) => queue !== undefined)
      .toSorted()
  }

  async #read(
    cluster: Cluster,
    queue: string,
    wanted: ReadonlySet<number>,
    visit: (found: Found) => 'stop' | void,
  ): Promise<void> {
    if (wanted.size === 0) return
    const last = Math.max(...wanted)
    await readFrom(cluster, this.#place(queue), Math.min(...wanted), (record) => {
      const { offset, key } = record
      if (wanted.has(offset) && key !== null) {
        const own = Buffer.from(key)
        if (visit({ letter: toLetter(queue, record), offset, own }) === 'stop') return 'stop'
      }
      return offset >= last ? 'stop' : undefined
    })
  }

  async #change(
    keys: readonly string[],
    before: (cluster: Cluster, found: Found) => Promise<void>,
  ): Promise<number> {
    const offsets = new Map<string, Set<number>>()
    for (const key of keys) {
      const parsed = parseKey(key)
      if (parsed === undefined || (this.#queue ?? parsed.queue) !== parsed.queue) continue
      const known = offsets.get(parsed.queue) ?? new Set()
      offsets.set(parsed.queue, known.add(parsed.offset))
    }
    return this.#topology.ask('changing dead letters', async (cluster) => {
      let changed = 0
      for (const [queue, wanted] of offsets)
        changed += await this.#changeIn(cluster, queue, wanted, before)
      return changed
    })
  }

  async #changeIn(
    cluster: Cluster,
    queue: string,
    asked: ReadonlySet<number>,
    before: (cluster: Cluster, found: Found) => Promise<void>,
  ): Promise<number> {
    const { living } = await livingIn(cluster, this.#place(queue))
    const there = new Set([...living.values()].filter((offset) => asked.has(offset)))
    let changed = 0
    // One by one: their bodies together may be more than there is memory for.
    for (const offset of [...there].toSorted((one, other) => one - other)) {
      const found: Found[] = []
      await this.#read(cluster, queue, new Set([offset]), (one) => void found.push(one))
      const [letter] = found
      if (letter === undefined) continue
      await before(cluster, letter)
      await this.#remove(queue, letter)
      changed++
    }
    await this.#sweep(cluster, queue)
    return changed
  }

  #remove(queue: string, { own }: Found): Promise<void> {
    return this.#producer.store({
      ...this.#place(queue),
      key: own,
      headers: new Map(),
      body: null,
    })
  }

  /** What lies before the first one that is left is deleted. */
  async #sweep(cluster: Cluster, queue: string): Promise<void> {
    const place = this.#place(queue)
    const { living, end } = await livingIn(cluster, place)
    // What has come since it was read lies behind that end, and stays.
    const first = [...living.values()].reduce((least, one) => Math.min(least, one), end)
    // The log cleaner of the broker does it as well, only later.
    await this.#topology.purge(cluster, place, first).catch(() => {})
  }

  async #putBack(cluster: Cluster, { letter }: Found): Promise<void> {
    const { partitionKey, place, body } = letter
    const topic = this.#topology.names.queueTopic(place)
    const info = (await cluster.topics([topic])).get(topic)
    if (info === undefined) throw new Error(`the topic '${topic}' is gone`)
    const key = partitionKey === undefined ? undefined : Buffer.from(partitionKey)
    await this.#producer.store({
      topic,
      partition:
        key === undefined
          ? this.#producer.turns(topic, info)()
          : partitionOf(key, info.partitions.length),
      ...(key === undefined ? {} : { key }),
      headers: toHeaders(letter),
      body,
    })
  }
}

/**
 * Where the dead letters are that nobody has taken away, by their keys, and the offset behind the
 * last record that was looked at.
 */
async function livingIn(
  cluster: Cluster,
  place: Place,
): Promise<{ readonly living: ReadonlyMap<string, number>; readonly end: number }> {
  const living = new Map<string, number>()
  if (!(await cluster.topics([place.topic])).has(place.topic)) {
    await checkAbsent(cluster, place.topic)
    // Nothing has ever died here.
    return { living, end: 0 }
  }
  const from = await endOf(cluster, place, 'earliest')
  const end = await readFrom(cluster, place, from, ({ key, value, offset }) => {
    if (key === null) return
    const name = key.toString('latin1')
    living.delete(name)
    if (value !== null) living.set(name, offset)
  })
  return { living, end }
}
