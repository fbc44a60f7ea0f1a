import { isMersalError } from '../../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../../core/messages/message.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { RabbitSettings } from '../options.ts'
import type { Topology } from './topology.ts'

const pause = { firstMs: 1000, longestMs: 3000 }
/** Between two times at which the bindings of a queue that is read are made again. */
const BINDINGS_EVERY_MS = 10_000

/**
 * The queues that this transport makes and reads, with their topics. While such a queue or binding
 * is missing (the broker is new, was wiped, or somebody deleted it), that is no fault of a message
 * to it.
 */
export class OwnQueues {
  readonly #topology: Topology
  readonly #settings: RabbitSettings
  readonly #letGo: (queue: string) => Promise<void>
  readonly #topics = new Map<string, Set<string>>()
  /** Queues that somebody reads, or wants to as soon as the broker is there. */
  readonly #wanted = new Set<string>()
  readonly #mending = new Map<string, Promise<void>>()
  /** Declarations that have not ended. One queue can have several. The promises do not reject. */
  readonly #making = new Set<{ readonly queue: string; readonly made: Promise<void> }>()
  /**
   * When each queue was made last, or was tried to be, as the number of that time: part of it may
   * be there even then.
   */
  readonly #made = new Map<string, number>()
  #times = 0
  readonly #closing = new AbortController()
  #keeping = false

  /**
   * `letGo` makes the consumers of a queue close their channels; they begin again by themselves.
   */
  constructor(
    topology: Topology,
    settings: RabbitSettings,
    letGo: (queue: string) => Promise<void>,
  ) {
    this.#topology = topology
    this.#settings = settings
    this.#letGo = letGo
  }

  names(): readonly string[] {
    return [...this.#topics.keys()]
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
      await this.#make(queue, topics, remove)
    } catch (error) {
      if (isMersalError(error, 'MERSAL_UNAVAILABLE')) this.#wanted.add(queue)
      // A topic that can never be bound must not fail every later try.
      else for (const topic of news) known.delete(topic)
      throw error
    }
  }

  prepare(queue: string): Promise<void> {
    return this.#make(queue, [...this.#topicsOf(queue)], false)
  }

  want(queue: string): void {
    this.#wanted.add(queue)
    if (!this.#keeping && this.#settings.topology === 'declare') void this.#keepBindings()
  }

  unwant(queue: string): void {
    this.#wanted.delete(queue)
  }

  /**
   * For a message that no queue took: if that is because something of ours is missing, makes it
   * again and resolves when it is there. With `check` it is not ours to make.
   */
  missing(to: OutgoingMessage['to']): Promise<void> | undefined {
    if (this.#settings.topology === 'check') return undefined
    const queue = [...this.#wanted].find((each) => this.#takes(each, to))
    if (queue === undefined) return undefined
    let mending = this.#mending.get(queue)
    if (mending === undefined) {
      mending = this.#mend(queue).finally(() => this.#mending.delete(queue))
      this.#mending.set(queue, mending)
    }
    return mending
  }

  /** This moment, for `madeSince`. */
  now(): number {
    return this.#times
  }

  /**
   * When what takes this message is being made, or has been since that moment: resolves when it has
   * been. RabbitMQ shows a quorum queue some milliseconds before it can store anything, and refuses
   * until then what is routed to it. Such a refusal may come after the answer to the declaration,
   * which takes another way.
   */
  madeSince(moment: number, to: OutgoingMessage['to']): Promise<void> | undefined {
    for (const [queue, mended] of this.#mending) if (this.#takes(queue, to)) return mended
    // The second of two declarations finds the queue and ends at once, while the first still waits.
    const making = [...this.#making].filter(({ queue }) => this.#takes(queue, to))
    if (making.length > 0) return Promise.all(making.map(({ made }) => made)).then(() => {})
    for (const [queue, time] of this.#made)
      if (time > moment && this.#takes(queue, to)) return Promise.resolve()
    return undefined
  }

  close(): void {
    this.#closing.abort()
  }

  async #make(queue: string, topics: readonly string[], remove: boolean): Promise<void> {
    const made = Promise.withResolvers<void>()
    const declaration = { queue, made: made.promise }
    this.#making.add(declaration)
    try {
      await this.#topology.queue(queue)
      await this.#topology.bind(queue, topics, remove)
    } finally {
      made.resolve()
      this.#made.set(queue, ++this.#times)
      this.#making.delete(declaration)
    }
  }

  #takes(queue: string, { kind, name }: OutgoingMessage['to']): boolean {
    return kind === 'queue' ? queue === name : this.#topicsOf(queue).has(name)
  }

  /**
   * The first try is not made at once. A quorum queue that is deleted and made again within the
   * same moment keeps the consumers of the old one without telling them, and sends them its
   * messages into the void (RabbitMQ 3.10.8). So consumers hear of the end of a queue before it has
   * a successor.
   */
  async #mend(queue: string): Promise<void> {
    const { signal } = this.#closing
    for (let failures = 1; ; failures++) {
      await systemClock.sleep(backoffMs(pause, failures, Math.random), signal)
      if (!this.#wanted.has(queue) || signal.aborted) return
      try {
        if (!(await this.#topology.exists(queue))) await this.#letGo(queue)
        return await this.prepare(queue)
      } catch (error) {
        // Whoever reads the queue meets the same trouble, and says it aloud.
        this.#settings.logger.debug({ queue, error }, 'a queue cannot be made again yet')
      }
    }
  }

  /**
   * Somebody who deletes the exchange takes all bindings with it, and nobody tells the consumers.
   * The next publish makes the exchange again, in whatever process, and events would pass by this
   * queue for ever.
   */
  async #keepBindings(): Promise<void> {
    this.#keeping = true
    const { signal } = this.#closing
    for (;;) {
      await systemClock.sleep(BINDINGS_EVERY_MS * (0.75 + Math.random() / 2), signal)
      if (signal.aborted || this.#wanted.size === 0) break
      for (const queue of this.#wanted) {
        // The queue may be gone or the broker away; whoever reads the queue sees to that.
        await this.#rebind(queue).catch((error: unknown) =>
          this.#settings.logger.debug({ queue, error }, 'bindings were not looked after'),
        )
      }
    }
    this.#keeping = false
  }

  async #rebind(queue: string): Promise<void> {
    const topics = [...this.#topicsOf(queue)]
    await this.#topology.bind(queue, topics, false)
    const unwanted = topics.filter((topic) => !this.#topicsOf(queue).has(topic))
    await this.#topology.bind(queue, unwanted, true)
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
