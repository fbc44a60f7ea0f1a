import { MersalError } from '../../core/errors/errors.ts'
import { checkChoice, checkNumber, checkOptions } from '../../core/options.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { type Clock, systemClock } from '../../lib/async/clock.ts'
import { byteLength } from '../../lib/text.ts'
import { type MemoryDeadLetters, memoryDeadLetters } from './dead-letters.ts'
import { MemoryQueue } from './queue.ts'

export interface MemoryNetworkOptions {
  /** Largest body plus headers, in bytes. Default 16 MiB. */
  readonly maxMessageBytes?: number
  /**
   * An event to a topic without subscribers: refused as unroutable, or confirmed and thrown away.
   * Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /** Time of the delayed retries. Default: that of the system. */
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
  const clock = options.clock ?? systemClock
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
  const size = messageBytes(message)
  if (size > network.maxMessageBytes) {
    const text = `the message has ${size} bytes, and ${network.maxMessageBytes} are allowed`
    return {
      kind: 'refused',
      reason: 'too-large',
      permanent: true,
      error: new MersalError('MERSAL_TOO_LARGE', text),
    }
  }
  const queues = queuesFor(network, message)
  if (queues.length === 0)
    return network.discardEvents && message.to.kind === 'topic'
      ? { kind: 'confirmed' }
      : unroutable(message)
  for (const queue of queues)
    queue.add({ message: envelopeOf(message), partitionKey: message.partitionKey, attempts: 0 })
  return { kind: 'confirmed' }
}

function queuesFor({ queues, topics }: NetworkState, { to }: OutgoingMessage): MemoryQueue[] {
  const names = to.kind === 'queue' ? [to.name] : [...(topics.get(to.name) ?? [])]
  return names.map((name) => queues.get(name)).filter((queue) => queue !== undefined)
}

function unroutable({ to }: OutgoingMessage): PublishOutcome {
  const text =
    to.kind === 'queue'
      ? `no queue '${to.name}' has been declared in this memory network: start the app that owns it`
      : `topic '${to.name}' has no subscribers in this memory network: start a subscriber, or set eventsWithoutSubscribers: 'discard'`
  const error = new MersalError('MERSAL_UNROUTABLE', text, { details: { to: destinationKey(to) } })
  return { kind: 'refused', reason: 'unroutable', permanent: false, error }
}

function envelopeOf({ id, type, headers, body }: OutgoingMessage): {
  id: string
  type: string
  headers: Record<string, string>
  body: Uint8Array
} {
  return { id, type, headers: { ...headers }, body: Uint8Array.prototype.slice.call(body) }
}

function messageBytes({ headers, body }: OutgoingMessage): number {
  let size = body.length
  for (const [name, value] of Object.entries(headers)) size += byteLength(name) + byteLength(value)
  return size
}
