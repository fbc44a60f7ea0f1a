import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { TransportOperations } from '../../core/operations.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { checkNumber } from '../../core/options.ts'
import type {
  Consumption,
  PublishOptions,
  PublishOutcome,
  Transport,
} from '../../core/transport.ts'
import { type Breakable, consumers } from '../shared/consumers.ts'
import type { OnDelivery } from '../shared/deliver.ts'
import { startConsumer } from './consumer.ts'
import { keyOrder, unavailable } from '../shared/outcomes.ts'
import type { Rejection } from './queue.ts'
import { bindTopics, type NetworkState, queueOverviews, route } from './network.ts'

/** A transport of a memory network. */
export interface MemoryTransport extends Transport {
  /** Messages that consumers have rejected, of the whole network. */
  readonly deadLetters: DeadLetterBox
  readonly operations: Required<Pick<TransportOperations, 'deadLetters' | 'queues'>>
}

/** A connection to the network. */
export function connect(network: NetworkState): MemoryTransport {
  const running = consumers()
  let closed = false
  const assertOpen = (): void => {
    if (closed) throw hasBeenClosed()
  }
  return {
    name: 'memory',
    features: {
      ordering: 'per-key',
      orderPerKey: 'when-asked',
      maxMessageBytes: network.maxMessageBytes,
    },
    deadLetters: network.dead.box,
    operations: {
      deadLetters: (queue) => network.dead.boxOf(queue),
      queues: async () => queueOverviews(network),
    },
    publish: (messages, options) => publish(network, messages, () => closed, options),
    async topicsOf(queue) {
      return [...network.topics].flatMap(([topic, queues]) => (queues.has(queue) ? [topic] : []))
    },
    async subscribe(queue, topics, { remove = false } = {}) {
      await Promise.resolve()
      assertOpen()
      bindTopics(network, queue, topics, remove)
    },
    async consume(consumption, onDelivery) {
      const concurrency = checkNumber('consume.concurrency', consumption.concurrency, {
        default: 1,
        min: 1,
        max: 1_000_000,
      })
      await Promise.resolve()
      assertOpen()
      return running.add(consume(network, { ...consumption, concurrency }, onDelivery))
    },
    async [Symbol.asyncDispose]() {
      closed = true
      await running.breakOff(hasBeenClosed())
    },
  }
}

function consume(
  { queues, clock, dead }: NetworkState,
  consumption: Consumption & { readonly concurrency: number },
  onDelivery: OnDelivery,
): Breakable {
  const queue = queues.get(consumption.queue)
  if (queue === undefined)
    throw new MersalError(
      'MERSAL_UNROUTABLE',
      `no queue '${consumption.queue}' has been declared: call subscribe first`,
    )
  if (consumption.orderPerKey === true) queue.keepOrder()
  const ports = { queue, clock, onRejected: (rejection: Rejection) => dead.add(rejection) }
  return startConsumer(ports, consumption, onDelivery)
}

function hasBeenClosed(): MersalError {
  return new MersalError('MERSAL_UNAVAILABLE', 'this memory transport has been closed')
}

/** All messages of a call are put into their queues in one step, a moment after the call. */
function publish(
  network: NetworkState,
  messages: readonly OutgoingMessage[],
  isClosed: () => boolean,
  { signal }: PublishOptions = {},
): readonly Promise<PublishOutcome>[] {
  const turn = Promise.resolve()
  const order = keyOrder()
  return messages.map(async (message) => {
    await turn
    const outcome = notSent(isClosed(), signal) ?? order.before(message) ?? route(network, message)
    order.note(message, outcome)
    return outcome
  })
}

function notSent(closed: boolean, signal: AbortSignal | undefined): PublishOutcome | undefined {
  if (signal?.aborted === true)
    return unavailable('the publish was aborted before the message was sent')
  return closed ? { kind: 'unavailable', error: hasBeenClosed() } : undefined
}
