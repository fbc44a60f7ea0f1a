import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { Mutex } from '../../../lib/async/mutex.ts'
import type { Cluster } from '../connection/cluster.ts'
import { endOf, type Place, readFrom } from '../connection/records.ts'
import { checkAbsent } from './existence.ts'

/** A broker that starts may need this time until it knows the end of a topic. */
const LONGEST_START_MS = 10_000

/** One record of the topic of subscriptions. `null` in place of the value takes it back. */
export function subscriptionKey(topic: string, queue: string): Buffer {
  return Buffer.from(JSON.stringify([topic, queue]))
}

function parse(key: Buffer | null): readonly [string, string] | undefined {
  try {
    const parsed: unknown = JSON.parse(key?.toString() ?? '')
    if (!Array.isArray(parsed)) return undefined
    const [topic, queue] = parsed as unknown[]
    return typeof topic === 'string' && typeof queue === 'string' ? [topic, queue] : undefined
  } catch {
    // Somebody else has put it there.
    return undefined
  }
}

function unsure(topic: string): MersalError {
  return new MersalError('MERSAL_UNAVAILABLE', `the broker does not know all of '${topic}' yet`)
}

/**
 * Which queues want which topics. They are the records of a compacted topic with one partition, of
 * which a copy is kept here: each look asks for its end, and reads what is new.
 */
export class Subscriptions {
  readonly #topic: string
  readonly #queues = new Map<string, Set<string>>()
  readonly #mutex = new Mutex()
  #id: string | undefined
  #next = 0
  #shorterSince: number | undefined

  constructor(topic: string) {
    this.#topic = topic
  }

  /** The queues of a topic at this moment. */
  async queuesOf(cluster: Cluster, topic: string): Promise<readonly string[]> {
    await this.#look(cluster)
    return [...(this.#queues.get(topic) ?? [])]
  }

  /** The topics of a queue at this moment. */
  async topicsOf(cluster: Cluster, queue: string): Promise<readonly string[]> {
    await this.#look(cluster)
    return [...this.#queues].flatMap(([topic, queues]) => (queues.has(queue) ? [topic] : []))
  }

  #look(cluster: Cluster): Promise<void> {
    return this.#mutex.run(async () => {
      const info = (await cluster.topics([this.#topic])).get(this.#topic)
      const place = { topic: this.#topic, partition: 0 }
      // It was deleted, or made again: everything is read again.
      if (info?.id !== this.#id) this.#forget()
      this.#id = info?.id
      if (info === undefined) return await checkAbsent(cluster, this.#topic)
      await this.#checkEnd(cluster, place)
      if (this.#next === 0) this.#next = await endOf(cluster, place, 'earliest')
      this.#next = await readFrom(cluster, place, this.#next, ({ key, value }) => {
        const found = parse(key)
        if (found !== undefined) this.#note(...found, value !== null)
      })
    })
  }

  /**
   * A topic may end before what was read. A broker that has just started may not know its end yet,
   * and nobody knows meanwhile who is subscribed; one that goes on so has lost it, and everything
   * is read again.
   */
  async #checkEnd(cluster: Cluster, place: Place): Promise<void> {
    const isShorter = (await endOf(cluster, place, 'latest')) < this.#next
    const now = systemClock.monotonic()
    if (!isShorter) this.#shorterSince = undefined
    else if (now - (this.#shorterSince ??= now) > LONGEST_START_MS) this.#forget()
    else throw unsure(this.#topic)
  }

  #note(topic: string, queue: string, isWanted: boolean): void {
    const queues = this.#queues.get(topic) ?? new Set()
    this.#queues.set(topic, queues)
    if (isWanted) queues.add(queue)
    else queues.delete(queue)
  }

  #forget(): void {
    this.#next = 0
    this.#queues.clear()
  }
}
