import { checkChoice, checkClock, checkNumber, checkOptions } from '../../core/options.ts'
import type { QueueOverview } from '../../core/operations.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { confirmed, sizeOf, tooLarge, unroutable } from '../shared/outcomes.ts'
import { type MemoryDeadLetters, memoryDeadLetters } from './dead-letters.ts'
import { MemoryQueue } from './queue.ts'

/** Options of `memoryTransport()` and `memoryNetwork()`. */
export interface MemoryNetworkOptions {
  /** Largest body plus headers, in bytes. From 1. Default 16 MiB. */
  readonly maxMessageBytes?: number
  /**
   * An event to a topic without subscribers: refused as unroutable, or confirmed and thrown away.
   * Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
}

/** The inside of a network: what a broker would hold. */
export interface NetworkState {
  readonly maxMessageBytes: number
  readonly discardEvents: boolean
  readonly clock: Clock
  readonly queues: Map<string, MemoryQueue>
  /** Topic → names of the queues that are subscribed. */
  readonly topics: Map<string, Set<string>>
  readonly dead: MemoryDeadLetters
}

export function makeNetwork(options: MemoryNetworkOptions): NetworkState {
  checkOptions('memoryNetwork', options, ['maxMessageBytes', 'eventsWithoutSubscribers', 'clock'])
  const clock = checkClock('memoryNetwork.clock', options.clock)
  const most = { default: 16 * 1024 * 1024, min: 1, max: Number.MAX_SAFE_INTEGER }
  return {
    maxMessageBytes: checkNumber('memoryNetwork.maxMessageBytes', options.maxMessageBytes, most),
    discardEvents:
      checkChoice(
        'memoryNetwork.eventsWithoutSubscribers',
        options.eventsWithoutSubscribers,
        ['refuse', 'discard'] as const,
        'refuse',
      ) === 'discard',
    clock,
    queues: new Map(),
    topics: new Map(),
    dead: memoryDeadLetters(clock),
  }
}

export function declareQueue(network: NetworkState, name: string): MemoryQueue {
  const existing = network.queues.get(name)
  if (existing !== undefined) return existing
  const queue = new MemoryQueue(name, network.clock)
  network.queues.set(name, queue)
  return queue
}

export function bindTopics(
  network: NetworkState,
  queue: string,
  topics: readonly string[],
  remove: boolean,
): void {
  declareQueue(network, queue)
  for (const topic of topics) {
    const subscribers = network.topics.get(topic) ?? new Set()
    if (remove) subscribers.delete(queue)
    else network.topics.set(topic, subscribers.add(queue))
    if (subscribers.size === 0) network.topics.delete(topic)
  }
}

/** Puts the message into every queue that is meant, or into none. */
export function route(network: NetworkState, message: OutgoingMessage): PublishOutcome {
  const size = sizeOf(message)
  if (size > network.maxMessageBytes) return tooLarge(size, network.maxMessageBytes)
  const queues = queuesFor(network, message)
  if (queues.length === 0)
    return network.discardEvents && message.to.kind === 'topic' ? confirmed : unroutable(message.to)
  for (const queue of queues)
    queue.add({ message: envelopeOf(message), partitionKey: message.partitionKey, attempts: 0 })
  return confirmed
}

function queuesFor({ queues, topics }: NetworkState, { to }: OutgoingMessage): MemoryQueue[] {
  const names = to.kind === 'queue' ? [to.name] : [...(topics.get(to.name) ?? [])]
  return names.map((name) => queues.get(name)).filter((queue) => queue !== undefined)
}

function envelopeOf({ id, type, headers, body }: OutgoingMessage): {
  id: string
  type: string
  headers: Record<string, string>
  body: Uint8Array
} {
  return { id, type, headers: { ...headers }, body: Uint8Array.prototype.slice.call(body) }
}

/** Every queue with what waits in it. */
export function queueOverviews({ queues, dead }: NetworkState): readonly QueueOverview[] {
  return [...queues.values()].map(({ name, waiting }) => ({
    queue: name,
    dead: dead.count(name),
    waiting,
  }))
}
