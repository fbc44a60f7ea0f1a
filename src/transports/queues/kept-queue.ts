import { randomInt } from 'node:crypto'
import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import type { Breakable } from '../shared/consumers.ts'

/** Between two looks whether a queue that is read is still there. */
const EVERY_MS = 5_000

export interface KeptQueueOptions {
  readonly queue: string
  /** The number of the queue in its table; undefined if it is not there. */
  find(): Promise<number | undefined>
  /** Makes the queue with all topics that it is subscribed to, and returns its number. */
  declare(): Promise<number>
  /** Begins to read. `look` is to be called before the first fetch after one that failed. */
  open(id: number, look: () => Promise<void>): Breakable
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

/**
 * Reads a queue whose tables somebody may empty, restore, or make anew meanwhile. Then nothing more
 * would come in for a queue that is not declared, and its number may by now be that of another one,
 * whose messages must not be taken.
 */
export class KeptQueue implements Breakable {
  readonly #options: KeptQueueOptions
  readonly #closing = new AbortController()
  readonly #keeping: Promise<void>
  /** Readers of queues that are gone. */
  #left: Promise<unknown> = Promise.resolve()
  #id: number
  #reader: Breakable

  constructor(id: number, options: KeptQueueOptions) {
    this.#options = options
    this.#id = id
    this.#reader = this.#open()
    this.#keeping = this.#keep()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#reader[Symbol.asyncDispose](), this.#keeping, this.#left])
  }

  async breakOff(reason?: Error): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#reader.breakOff(reason), this.#keeping, this.#left])
  }

  #open(): Breakable {
    return this.#options.open(this.#id, () => this.#look())
  }

  async #keep(): Promise<void> {
    const { queue, logger, clock, random } = this.#options
    const { signal } = this.#closing
    for (;;) {
      await clock.sleep(EVERY_MS * (0.75 + random() / 2), signal)
      if (signal.aborted) return
      // The database may be away; whoever fetches meets that too, and logs it.
      await this.#look().catch((error: unknown) =>
        logger.debug({ queue, ...errorFields(error) }, 'a queue was not looked after'),
      )
    }
  }

  async #look(): Promise<void> {
    const { queue, logger } = this.#options
    const found = await this.#options.find()
    if (this.#closing.signal.aborted || found === this.#id) return
    // Another process of the app may have made the queue, and not yet its subscriptions.
    const id = await this.#options.declare()
    logger.warn({ queue }, 'the queue was no longer in its table; it has been made again')
    if (this.#closing.signal.aborted || id === this.#id) return
    const text = `the queue '${queue}' was made anew, and what was taken of it is gone`
    this.#left = Promise.all([
      this.#left,
      this.#reader.breakOff(new MersalError('MERSAL_UNAVAILABLE', text)),
    ])
    this.#id = id
    this.#reader = this.#open()
  }
}

/**
 * A number that no other queue of the database has had: who reads by a number must not get the
 * messages of another queue when the numbers of a table begin anew. Should it be taken all the same,
 * another one is drawn.
 */
export const newQueueNumber = (): number => randomInt(1, 2 ** 31 - 1)

/** The topics that each queue of a transport is subscribed to. */
export class Subscribed {
  readonly #topics = new Map<string, Set<string>>()

  note(queue: string, topics: readonly string[], remove: boolean): void {
    const known = new Set(this.of(queue))
    for (const topic of topics) {
      if (remove) known.delete(topic)
      else known.add(topic)
    }
    this.#topics.set(queue, known)
  }

  of(queue: string): readonly string[] {
    return [...(this.#topics.get(queue) ?? [])]
  }
}
