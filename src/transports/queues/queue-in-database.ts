import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { TransportOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import type { QueueRemoval, Transport } from '../../core/transport.ts'
import type { Backoff } from '../../lib/async/backoff.ts'
import { type Breakable, consumers } from '../shared/consumers.ts'
import type { HeldQueueOptions } from '../shared/held-queue.ts'
import { KeptQueue, type KeptQueueOptions, Subscribed } from './kept-queue.ts'

/** The queues of a database, and what they are subscribed to. */
export interface QueueTopology {
  /**
   * Makes the queue if it is not there, changes its subscriptions, and returns its number. Rejects
   * with `MERSAL_UNAVAILABLE` when the database cannot be reached.
   */
  subscribe(queue: string, topics: readonly string[], remove: boolean): Promise<number>
  /** The number of the queue; undefined if there is none. */
  find(queue: string): Promise<number | undefined>
  topicsOf(queue: string): Promise<readonly string[]>
  remove(queue: string): Promise<QueueRemoval>
}

/** Whose messages a reader takes, and what it does with them. */
type Reading = Pick<HeldQueueOptions, 'name' | 'consumption' | 'onDelivery' | 'pause' | 'look'>

type Operations = Required<Omit<TransportOperations, 'examine'>>

/** What one database gives for its queues. */
export interface QueueDatabase {
  /** Name of the transport, such as `postgres`. */
  readonly name: string
  readonly maxMessageBytes: number
  /** Waited after failures. */
  readonly pause: Backoff
  readonly time: Pick<KeptQueueOptions, 'logger' | 'clock' | 'random'>
  readonly topology: QueueTopology
  readonly operations: Operations
  readonly publish: Transport['publish']
  /** Begins to read the queue of this number. */
  read(id: number, reading: Reading): Breakable
  /** Rejects if it has been closed. */
  ready(): Promise<unknown>
  /** `breakOff` ends everything that reads. */
  close(breakOff: () => Promise<void>): Promise<void>
}

/** A broker whose queues, subscriptions and dead letters are rows. */
interface QueueInDatabase extends Transport {
  readonly deadLetters: DeadLetterBox
  deadLettersOf(queue: string): DeadLetterBox
  readonly operations: Operations
}

export function queueInDatabase(database: QueueDatabase): QueueInDatabase {
  const { name, maxMessageBytes, topology, operations } = database
  const running = consumers()
  const subscribed = new Subscribed()
  return {
    name,
    features: { ordering: 'per-key', orderPerKey: 'always', maxMessageBytes },
    deadLetters: operations.deadLetters(),
    deadLettersOf: (queue) => operations.deadLetters(queue),
    operations,
    publish: database.publish,
    subscribe: async (queue, topics, { remove = false } = {}) => {
      await topology.subscribe(queue, topics, remove)
      subscribed.note(queue, topics, remove)
    },
    topicsOf: (queue) => topology.topicsOf(queue),
    removeQueue: (queue) => topology.remove(queue),
    async consume(consumption, onDelivery) {
      checkNumber('concurrency', consumption.concurrency, { default: 1, min: 1, max: 100_000 })
      const { queue } = consumption
      const id = await topology.subscribe(queue, [], false)
      await database.ready() // closed meanwhile?
      const reading = { name: `${name} queue`, pause: database.pause, consumption, onDelivery }
      const kept = new KeptQueue(id, {
        ...database.time,
        queue,
        find: () => topology.find(queue),
        declare: () => topology.subscribe(queue, subscribed.of(queue), false),
        open: (current, look) => database.read(current, { ...reading, look }),
      })
      return running.add(kept)
    },
    [Symbol.asyncDispose]: () => database.close(() => running.breakOff()),
  }
}
