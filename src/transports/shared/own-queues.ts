import { errorFields } from '../../core/errors/error-text.ts'
import { isMersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Finding } from '../../core/operations.ts'
import type { Logger } from '../../core/telemetry.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'

/** The queues of a broker that may vanish, as `OwnQueues` needs them. */
export interface QueueMaker {
  /** Declares the queue, or only looks for it. Repeating it changes nothing. */
  queue(name: string): Promise<void>
  /** Makes the topics deliver into the queue; `remove` takes them back. May be repeated. */
  bind(queue: string, topics: readonly string[], remove: boolean): Promise<void>
  /** Called before a queue that may be missing is made again. */
  beforeAgain?(queue: string): Promise<void>
}

export interface OwnQueuesOptions {
  readonly maker: QueueMaker
  /** False: queues and subscriptions are the operator's to make. */
  readonly declares: boolean
  /** Waited before each try to make a missing queue again. */
  readonly pause: Backoff
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

type Place = Pick<OutgoingMessage['to'], 'kind' | 'name'>

/** Between two times at which the subscriptions of a queue that is read are made again. */
const SUBSCRIPTIONS_EVERY_MS = 10_000

/**
 * The queues that a transport makes and reads, with their topics. While such a queue or
 * subscription is missing (the broker is new, was wiped, or somebody deleted it), that is no fault
 * of a message to it.
 */
export class OwnQueues {
  readonly #options: OwnQueuesOptions
  readonly #topics = new Map<string, Set<string>>()
  /** How many consumers read each queue. */
  readonly #readers = new Map<string, number>()
  /** Queues that somebody wants to read as soon as the broker is there. */
  readonly #awaited = new Set<string>()
  readonly #remaking = new Map<string, Promise<void>>()
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

  constructor(options: OwnQueuesOptions) {
    this.#options = options
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
      if (isMersalError(error, 'MERSAL_UNAVAILABLE')) this.#awaited.add(queue)
      // A topic that can never be bound must not fail every later try.
      else for (const topic of news) known.delete(topic)
      throw error
    }
  }

  /** Makes the queue with all its topics. */
  prepare(queue: string): Promise<void> {
    return this.#make(queue, [...this.#topicsOf(queue)], false)
  }

  /** One more consumer reads the queue. */
  read(queue: string): void {
    this.#readers.set(queue, (this.#readers.get(queue) ?? 0) + 1)
    if (!this.#keeping && this.#options.declares) void this.#keepSubscriptions()
  }

  /** One consumer less reads the queue. */
  unread(queue: string): void {
    const left = (this.#readers.get(queue) ?? 1) - 1
    if (left > 0) return void this.#readers.set(queue, left)
    this.#readers.delete(queue)
    this.#awaited.delete(queue)
  }

  /**
   * For a message that no queue took: if that is because something of ours is missing, makes it
   * again and resolves when it is there.
   */
  missing(to: Place): Promise<void> | undefined {
    if (!this.#options.declares) return undefined
    const queue = this.#wanted().find((each) => this.#takes(each, to))
    if (queue === undefined) return undefined
    let remaking = this.#remaking.get(queue)
    if (remaking === undefined) {
      remaking = this.#makeAgain(queue).finally(() => this.#remaking.delete(queue))
      this.#remaking.set(queue, remaking)
    }
    return remaking
  }

  /** This moment, for `madeSince`. */
  now(): number {
    return this.#times
  }

  /**
   * When what takes this message is being made, or has been since that moment: resolves when it has
   * been. A broker may show a queue before it can store anything, and refuse until then what is
   * routed to it. Such a refusal may come after the answer to the declaration, which takes another
   * way.
   */
  madeSince(moment: number, to: Place): Promise<void> | undefined {
    for (const [queue, remade] of this.#remaking) if (this.#takes(queue, to)) return remade
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
      await this.#options.maker.queue(queue)
      await this.#options.maker.bind(queue, topics, remove)
    } finally {
      made.resolve()
      this.#made.set(queue, ++this.#times)
      this.#making.delete(declaration)
    }
  }

  #wanted(): readonly string[] {
    return [...new Set([...this.#readers.keys(), ...this.#awaited])]
  }

  #isWanted(queue: string): boolean {
    return this.#readers.has(queue) || this.#awaited.has(queue)
  }

  #takes(queue: string, { kind, name }: Place): boolean {
    return kind === 'queue' ? queue === name : this.#topicsOf(queue).has(name)
  }

  async #makeAgain(queue: string): Promise<void> {
    const { maker, pause, logger, clock, random } = this.#options
    const { signal } = this.#closing
    for (let failures = 1; ; failures++) {
      await clock.sleep(backoffMs(pause, failures, random), signal)
      if (!this.#isWanted(queue) || signal.aborted) return
      try {
        await maker.beforeAgain?.(queue)
        return await this.prepare(queue)
      } catch (error) {
        // The consumer of the queue meets the same error, and logs it.
        logger.debug({ queue, ...errorFields(error) }, 'a queue cannot be made again yet')
      }
    }
  }

  /**
   * Somebody may delete only the subscriptions. The consumers are not told, and the queue would get
   * no events any more.
   */
  async #keepSubscriptions(): Promise<void> {
    this.#keeping = true
    const { logger, clock, random } = this.#options
    const { signal } = this.#closing
    for (;;) {
      await clock.sleep(SUBSCRIPTIONS_EVERY_MS * (0.75 + random() / 2), signal)
      if (signal.aborted || this.#wanted().length === 0) break
      for (const queue of this.#wanted()) {
        // The queue may be gone or the broker away; the consumer of the queue handles that.
        await this.#rebind(queue).catch((error: unknown) =>
          logger.debug({ queue, ...errorFields(error) }, 'subscriptions were not looked after'),
        )
      }
    }
    this.#keeping = false
  }

  async #rebind(queue: string): Promise<void> {
    const { maker } = this.#options
    const topics = [...this.#topicsOf(queue)]
    await maker.bind(queue, topics, false)
    const unwanted = topics.filter((topic) => !this.#topicsOf(queue).has(topic))
    await maker.bind(queue, unwanted, true)
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

/** For `examine`: a queue or stream that the next start of its app will make. */
export const notMadeYet = (subject: string): Finding => ({
  level: 'warning',
  subject,
  text: 'does not exist yet',
  remedy: 'start the app that owns it once; until then what is sent there is unroutable',
})
