import { errorFields } from '../../../core/errors/error-text.ts'
import type { OutgoingMessage } from '../../../core/messages/message.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { NatsSettings } from '../options.ts'
import type { Topology } from './topology.ts'

const pause = { firstMs: 250, longestMs: 3000 }
const LOOK_AGAIN_MS = 1000
/** Between two looks at the streams and the subscriptions of what is read. */
const EVERY_MS = 10_000

/**
 * The queues that this transport makes and reads, with their topics. While one of them is missing
 * (the server is new, or somebody deleted a stream), that is no fault of a message to it.
 */
export class OwnQueues {
  readonly #topology: Topology
  readonly #settings: NatsSettings
  readonly #topics = new Map<string, Set<string>>()
  /** Queues that somebody reads, with how many do. */
  readonly #read = new Map<string, number>()
  readonly #making = new Map<string, Promise<void>>()
  readonly #closing = new AbortController()
  #keeping = false

  constructor(topology: Topology, settings: NatsSettings) {
    this.#topology = topology
    this.#settings = settings
  }

  names(): readonly string[] {
    return [...new Set([...this.#topics.keys(), ...this.#read.keys()])]
  }

  /** Notes what is wanted before it is made, so that whatever makes it later makes all of it. */
  async subscribe(queue: string, topics: readonly string[], remove: boolean): Promise<void> {
    const known = this.#topicsOf(queue)
    const news = remove ? [] : topics.filter((topic) => !known.has(topic))
    for (const topic of topics) {
      if (remove) known.delete(topic)
      else known.add(topic)
    }
    try {
      await this.#topology.queue(queue)
      await this.#topology.bind(queue, topics, remove)
    } catch (error) {
      for (const topic of news) known.delete(topic)
      throw error
    }
  }

  async prepare(queue: string): Promise<void> {
    await this.#topology.queue(queue)
    await this.#rebind(queue)
  }

  /** After a crash of the server: hands out again what its consumer has forgotten. */
  async recover(queue: string): Promise<void> {
    const { signal } = this.#closing
    const first = await this.#topology.leftBehind(queue)
    if (first === undefined) return
    // The stream removes what was acknowledged a moment later.
    await systemClock.sleep(LOOK_AGAIN_MS, signal)
    if (signal.aborted || (await this.#topology.leftBehind(queue)) !== first) return
    this.#settings.logger.warn(
      { queue },
      'NATS has forgotten what its consumer must hand out: all messages in the queue come again',
    )
    await this.#topology.consumerAgain(queue)
  }

  read(queue: string): void {
    this.#read.set(queue, (this.#read.get(queue) ?? 0) + 1)
    if (!this.#keeping) void this.#keep()
  }

  unread(queue: string): void {
    const readers = (this.#read.get(queue) ?? 1) - 1
    if (readers > 0) this.#read.set(queue, readers)
    else this.#read.delete(queue)
  }

  /** If what takes this is ours to make: makes it again, and resolves when it is there. */
  missing({ kind, name }: Pick<OutgoingMessage['to'], 'kind' | 'name'>): Promise<void> | undefined {
    if (this.#settings.topology === 'check') return undefined
    const queue = [...this.#read.keys()].find((each) =>
      kind === 'queue' ? each === name : this.#topicsOf(each).has(name),
    )
    if (queue === undefined) return undefined
    const known = this.#making.get(queue)
    if (known !== undefined) return known
    const made = this.#make(queue).finally(() => this.#making.delete(queue))
    this.#making.set(queue, made)
    return made
  }

  close(): void {
    this.#closing.abort()
  }

  async #make(queue: string): Promise<void> {
    const { signal } = this.#closing
    for (let failures = 1; this.#read.has(queue) && !signal.aborted; failures++) {
      try {
        return await this.prepare(queue)
      } catch (error) {
        // Whoever reads the queue meets the same trouble, and says so.
        this.#settings.logger.debug(
          { queue, ...errorFields(error) },
          'a queue cannot be made again yet',
        )
      }
      await systemClock.sleep(backoffMs(pause, failures, Math.random), signal)
    }
  }

  /** Whoever deletes the stream of the subscriptions tells nobody. */
  async #keep(): Promise<void> {
    this.#keeping = true
    const { signal } = this.#closing
    for (;;) {
      await systemClock.sleep(EVERY_MS * (0.75 + Math.random() / 2), signal)
      if (signal.aborted || this.#read.size === 0) break
      for (const queue of this.#read.keys()) {
        try {
          await this.#rebind(queue)
          await this.recover(queue)
        } catch (error) {
          this.#settings.logger.debug(
            { queue, ...errorFields(error) },
            'the stream and its subscriptions were not looked after',
          )
        }
      }
    }
    this.#keeping = false
  }

  async #rebind(queue: string): Promise<void> {
    const there = new Set(await this.#topology.topicsOf(queue))
    const missing = [...this.#topicsOf(queue)].filter((topic) => !there.has(topic))
    if (missing.length === 0) return
    if (this.#settings.topology === 'declare') await this.#topology.queue(queue)
    await this.#topology.bind(queue, missing, false)
  }

  #topicsOf(queue: string): Set<string> {
    let topics = this.#topics.get(queue)
    if (topics === undefined) {
      topics = new Set()
      this.#topics.set(queue, topics)
    }
    return topics
  }
}
