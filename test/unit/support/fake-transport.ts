import type { Envelope, OutgoingMessage } from '../../../src/core/messages/message.ts'
import type {
  Consumption,
  Delivery,
  Disposition,
  OnTrouble,
  PublishOutcome,
  Transport,
} from '../../../src/core/transport.ts'

export interface FakeTransport extends Transport {
  /** Everything that was handed to `publish`. */
  readonly published: OutgoingMessage[]
  /**
   * Each call of `subscribe`, as `queue+topic` or `queue-topic`; `queue` for one without topics.
   */
  readonly subscriptions: string[]
  readonly disposed: boolean
  /** What the next publishes answer. Default confirmed. */
  answer: (message: OutgoingMessage) => Promise<PublishOutcome> | PublishOutcome
  /** Hands a message to the consumer of the queue, as the broker would. */
  deliver(
    queue: string,
    message: Partial<Envelope>,
    options?: Partial<Omit<Delivery, 'message' | 'queue'>>,
  ): Promise<Disposition>
  /** Tells the consumer of the queue that nothing can be received, or that it works again. */
  trouble(queue: string, error: Error | undefined): void
  /** Called by `subscribe` and `consume`; may wait or throw. */
  onCall: (call: 'subscribe' | 'consume') => Promise<void> | void
}

let ids = 0

/** A broker in the hands of the test: keeps what is published, delivers what the test says. */
export function fakeTransport(options: { maxMessageBytes?: number } = {}): FakeTransport {
  const consumers = new Map<string, (delivery: Delivery) => Promise<Disposition>>()
  const troubles = new Map<string, OnTrouble>()
  const running = new Set<Promise<Disposition>>()
  const transport = {
    name: 'fake',
    features: { ordering: 'none' as const, maxMessageBytes: options.maxMessageBytes ?? 10_000 },
    published: [] as OutgoingMessage[],
    subscriptions: [] as string[],
    disposed: false,
    answer: (): Promise<PublishOutcome> | PublishOutcome => ({ kind: 'confirmed' }),
    onCall: (): Promise<void> | void => {},
    publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome>[] {
      transport.published.push(...messages)
      return messages.map(async (message) => (transport as FakeTransport).answer(message))
    },
    async subscribe(
      queue: string,
      topics: readonly string[],
      { remove = false }: { readonly remove?: boolean } = {},
    ): Promise<void> {
      await (transport as FakeTransport).onCall('subscribe')
      if (topics.length === 0) transport.subscriptions.push(queue)
      for (const topic of topics)
        transport.subscriptions.push(`${queue}${remove ? '-' : '+'}${topic}`)
    },
    async consume(
      { queue, onTrouble }: Consumption,
      onDelivery: (delivery: Delivery) => Promise<Disposition>,
    ): Promise<AsyncDisposable> {
      await (transport as FakeTransport).onCall('consume')
      consumers.set(queue, onDelivery)
      if (onTrouble !== undefined) troubles.set(queue, onTrouble)
      return {
        [Symbol.asyncDispose]: async () => {
          consumers.delete(queue)
          await Promise.all(running)
        },
      }
    },
    trouble(queue: string, error: Error | undefined): void {
      troubles.get(queue)?.(error)
    },
    deliver(
      queue: string,
      message: Partial<Envelope>,
      more: Partial<Omit<Delivery, 'message' | 'queue'>> = {},
    ): Promise<Disposition> {
      const consumer = consumers.get(queue)
      if (consumer === undefined) return Promise.reject(new Error(`nobody consumes ${queue}`))
      const envelope = {
        id: `id-${++ids}`,
        type: '',
        headers: {},
        body: new Uint8Array(),
        ...message,
      }
      // What is given stays what it is: a signal that is made when it is asked for, too.
      const delivery: Delivery = Object.defineProperties(
        { message: envelope, queue, attempt: 1, signal: new AbortController().signal },
        Object.getOwnPropertyDescriptors(more),
      )
      const handling = consumer(delivery)
      running.add(handling)
      void handling.finally(() => running.delete(handling))
      return handling
    },
    [Symbol.asyncDispose](): Promise<void> {
      transport.disposed = true
      return Promise.resolve()
    },
  }
  return transport
}

/** A body as it travels. */
export function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}
