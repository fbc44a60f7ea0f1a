import assert from 'node:assert/strict'
import { TextEncoder } from 'node:util'
import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { Destination, Envelope, OutgoingMessage } from '../../core/messages/message.ts'
import type {
  Consumption,
  Delivery,
  Disposition,
  PublishOutcome,
  Transport,
  TransportFeatures,
} from '../../core/transport.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import type { HarnessTime } from '../contract.ts'

/**
 * What an adapter supplies to run the transport suite. Disposing it closes what is still open, and
 * removes from the broker what the cases have made there.
 */
export interface TransportHarness extends HarnessTime, AsyncDisposable {
  /**
   * A transport on the one broker of this harness. May be called several times: each has a
   * connection of its own.
   */
  open(): Promise<Transport>
  /**
   * A name for a queue or a topic that nobody else uses on the broker; the same label gives the
   * same name.
   */
  name(label: string): string
  /**
   * Ends this transport as if its process had been killed in the middle of what it does, and
   * resolves when the broker gives its messages to others (as by closing its socket, or by passing
   * the time of its holds).
   */
  crash(transport: Transport): Promise<void>
  /**
   * What the transport must say of the order per key up to the handler (`features.orderPerKey`). A
   * transport that keeps less fails, also one that says nothing.
   */
  readonly orderPerKey: NonNullable<TransportFeatures['orderPerKey']> | 'never'
  /** Where the messages of the queue go that consumers reject. */
  deadLetters(queue: string): DeadLetterBox
}

/** A delay that ends while a case waits. */
export const SHORT_MS = 200
/** Enough for whatever was due after `SHORT_MS` to be due by any clock. */
export const PASSED_MS = 300
export const LONG_MS = 600_000

let counter = 0

/** A message whose type tells which one it is: `contract.<label>`. */
export function message(
  label: string,
  to: Destination,
  extra: Partial<OutgoingMessage> = {},
): OutgoingMessage {
  counter++
  return {
    id: uuidv7(Date.now()),
    type: `contract.${label}`,
    headers: { 'content-type': 'application/json' },
    body: new TextEncoder().encode(`{"number":${counter}}`),
    to,
    ...extra,
  }
}

export function toQueue(name: string): Destination {
  return { transport: 'default', kind: 'queue', name }
}

export function toTopic(name: string): Destination {
  return { transport: 'default', kind: 'topic', name }
}

export const labelOf = ({ type }: Envelope): string => type.replace('contract.', '')

export async function outcomes(
  transport: Transport,
  messages: readonly OutgoingMessage[],
): Promise<readonly PublishOutcome[]> {
  const promises = transport.publish(messages)
  assert.equal(promises.length, messages.length, 'one promise per message')
  return Promise.all(promises)
}

/** Publishes, and wants every message confirmed. */
export async function publish(
  transport: Transport,
  ...messages: readonly OutgoingMessage[]
): Promise<void> {
  for (const outcome of await outcomes(transport, messages)) {
    if (outcome.kind !== 'confirmed')
      assert.fail(`expected confirmed, got ${outcome.kind}: ${outcome.error.message}`)
  }
}

/** Declares a queue and publishes these messages to it. */
export async function filled(
  harness: TransportHarness,
  transport: Transport,
  ...labels: readonly string[]
): Promise<string> {
  const queue = harness.name('q')
  await transport.subscribe(queue, [])
  for (const label of labels) await publish(transport, message(label, toQueue(queue)))
  return queue
}

/**
 * Deliveries as they come, for a test that takes them one by one. Disposing gives back what is
 * unanswered, then stops.
 */
export interface Inbox extends AsyncDisposable {
  /** The next delivery; it stays in the hands of the consumer until `answer` is called. */
  next(): Promise<Received>
  /** Deliveries that nobody has taken with `next` yet. */
  readonly untaken: number
  /** Disposes the consumption, and so waits for every answer. */
  stop(): Promise<void>
}

export interface Received {
  readonly delivery: Delivery
  readonly label: string
  readonly answer: (disposition: Disposition | Error) => void
}

/** Consumes a queue; every delivery waits for its answer. */
export async function listen(
  transport: Transport,
  queue: string,
  concurrency = 10,
  { orderPerKey = false }: { readonly orderPerKey?: boolean } = {},
): Promise<Inbox> {
  const arrived: Received[] = []
  const waiting: ((received: Received) => void)[] = []
  const unanswered = new Set<Received>()
  let closing = false
  const consumptionOf = (): Consumption =>
    orderPerKey ? { queue, concurrency, orderPerKey } : { queue, concurrency }
  const consumption = await transport.consume(consumptionOf(), (delivery) => {
    const { promise, resolve, reject } = Promise.withResolvers<Disposition>()
    const answer = (given: Disposition | Error): void => {
      unanswered.delete(received)
      if (given instanceof Error) reject(given)
      else resolve(given)
    }
    const received: Received = { delivery, label: labelOf(delivery.message), answer }
    unanswered.add(received)
    const taker = waiting.shift()
    if (closing) answer({ kind: 'release' })
    else if (taker === undefined) arrived.push(received)
    else taker(received)
    return promise
  })
  const stop = async (): Promise<void> => consumption[Symbol.asyncDispose]()
  return {
    get untaken() {
      return arrived.length
    },
    next: () => {
      const received = arrived.shift()
      return received === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(received)
    },
    stop,
    [Symbol.asyncDispose]: () => {
      closing = true
      for (const { answer } of unanswered) answer({ kind: 'release' })
      return stop()
    },
  }
}

/**
 * Takes this many deliveries and acknowledges them. Returns their labels in the order of their
 * arrival.
 */
export async function receive(inbox: Inbox, count: number): Promise<string[]> {
  const labels: string[] = []
  for (let index = 0; index < count; index++) {
    const received = await inbox.next()
    received.answer({ kind: 'ack' })
    labels.push(received.label)
  }
  return labels
}

/** A turn for whatever is under way, so that something that must not come would have come. */
export function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50))
}

export function only<Value>(values: readonly Value[]): Value {
  const [value] = values
  if (value === undefined || values.length !== 1)
    assert.fail(`expected exactly one, got ${values.length}`)
  return value
}
