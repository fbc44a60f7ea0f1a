import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition } from '../../src/core/transport.ts'
import { kafka, type KafkaOptions, type KafkaTransport } from '../../src/kafka.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { destinationOf, sendBeside, type Sent } from '../scenarios/sending.ts'

/** Short times, so that a fault of seconds is long. */
export const hasty: Partial<KafkaOptions> = {
  partitions: 4,
  sessionTimeoutMs: 3000,
  confirmTimeoutMs: 1500,
  connectTimeoutMs: 2000,
  logger: false,
}

export interface Traffic extends Sent {
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
  /** Messages of a key that were handled for the first time before an earlier one of it was. */
  readonly overtaken: readonly string[]
  /** Of how many messages of one key a handler had two at the same time. */
  readonly together: number
  /** Deliveries whose hold was lost while a handler had them. */
  readonly lost: number
}

/** What a fault may look at and change while the traffic goes on. */
export interface Running {
  readonly queue: string
  readonly sent: () => number
  /** One consumer more, with a transport of its own. */
  readonly join: () => Promise<AsyncDisposable>
}

export interface TrafficPlan {
  readonly server: string
  readonly options?: Partial<KafkaOptions>
  readonly messages: number
  readonly concurrency?: number
  /** Between two calls of `publish`, until the fault is over. Default 20. */
  readonly paceMs?: number
  /** Runs beside the traffic; it goes on until this has ended. */
  readonly fault: (running: Running) => Promise<void>
}

const KEYS = 7
const queue = 'traffic.queue'
const topic = 'traffic.topic'

/** Every second message has a key; of a key they are numbered. */
function messagesOf(count: number): readonly OutgoingMessage[] {
  return Array.from({ length: count }, (_, index) => ({
    id: uuidv7(Date.now()),
    type: 'traffic.message',
    headers: { number: String(index), key: index % 2 === 0 ? `k${index % KEYS}` : '' },
    body: Buffer.from(`{"number":${index}}`),
    ...(index % 2 === 0 ? { partitionKey: `k${index % KEYS}` } : {}),
    to: destinationOf(index, { queue, topic }),
  }))
}

/** What the handlers of all consumers see. */
function witness() {
  const handled = new Map<string, number>()
  const newest = new Map<string, number>()
  const inHand = new Map<string, number>()
  const seen = { overtaken: [] as string[], together: 0, lost: 0 }
  async function handle({ message, attempt, signal }: Delivery): Promise<Disposition> {
    const { number = '', key = '' } = message.headers
    const others = inHand.get(key) ?? 0
    if (key !== '' && others > 0) seen.together++
    inHand.set(key, others + 1)
    await wait(5)
    inHand.set(key, (inHand.get(key) ?? 1) - 1)
    if (signal.aborted) seen.lost++
    if (Number(number) % 10 === 0 && attempt === 1)
      return { kind: 'retry', delayMs: 50, error: new Error('once more') }
    const isNew = !handled.has(message.id)
    if (key !== '' && isNew && Number(number) < (newest.get(key) ?? -1))
      seen.overtaken.push(`${key} ${number}`)
    newest.set(key, Math.max(newest.get(key) ?? -1, Number(number)))
    handled.set(message.id, (handled.get(message.id) ?? 0) + 1)
    return { kind: 'ack' }
  }
  return { handled, seen, handle }
}

/** Commands and events between transports while something goes wrong. */
export async function traffic(plan: TrafficPlan): Promise<Traffic> {
  const { server, options = {}, concurrency = 20, paceMs = 20, fault } = plan
  const open = (): KafkaTransport => kafka({ bootstrapServers: server, ...hasty, ...options })
  await using sender = open()
  await using receiver = open()
  await receiver.subscribe(queue, [topic])
  const { handled, seen, handle } = witness()
  const join = async (): Promise<AsyncDisposable> => {
    const stack = new AsyncDisposableStack()
    const other = stack.use(open())
    stack.use(await other.consume({ queue, concurrency }, handle))
    return stack
  }
  await using _consumption = await receiver.consume({ queue, concurrency }, handle)
  const messages = messagesOf(plan.messages)
  const sent = await sendBeside(
    (count) => fault({ sent: count, queue, join }),
    sender,
    messages,
    paceMs,
  )
  await settled(receiver)
  return { ...sent, handled, ...seen }
}

/** Nothing is left in the queue. */
async function settled(receiver: KafkaTransport): Promise<void> {
  for (;;) {
    const overviews = await receiver.operations.queues({ names: [queue] }).catch(() => [])
    if (overviews.find((one) => one.queue === queue)?.waiting === 0) return
    await wait(100)
  }
}
